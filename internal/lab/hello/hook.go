package main

import (
	"encoding/json"
	"net/http"
	"strings"
)

// hook is the protocol of an admission webhook, whose certificate is in tlsDir,
// where a pod has a Secret.
const (
	hook   = "hook"
	tlsDir = "/tls"
)

// review is as much of an AdmissionReview as matters here, in both directions.
type review struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Request    *asked   `json:"request,omitempty"`
	Response   *verdict `json:"response,omitempty"`
}

type asked struct {
	UID  string `json:"uid"`
	Name string `json:"name"`
}

type verdict struct {
	UID     string  `json:"uid"`
	Allowed bool    `json:"allowed"`
	Status  *status `json:"status,omitempty"`
}

type status struct {
	Message string `json:"message"`
}

func admitter() *http.Server {
	return &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(admit)}
}

// admit lets in what is not called "refused-...".
func admit(w http.ResponseWriter, r *http.Request) {
	var in review
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Request == nil {
		http.Error(w, "no AdmissionReview", http.StatusBadRequest)
		return
	}
	v := &verdict{UID: in.Request.UID, Allowed: !strings.HasPrefix(in.Request.Name, "refused-")}
	if !v.Allowed {
		v.Status = &status{Message: "refused by " + strings.TrimSpace(greeting())}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review{APIVersion: in.APIVersion, Kind: in.Kind, Response: v}) // whoever has gone needs no answer
}
