package main

import (
	"encoding/json"
	"net/http"
	"strings"
)

// hook is the protocol of a port that serves an admission webhook. Its certificate is
// in tlsDir, where the pod mounts a Secret.
const (
	hook   = "hook"
	tlsDir = "/tls"
)

// review has the used fields of an AdmissionReview, of requests and of responses.
type review struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Request    *request `json:"request,omitempty"`
	Response   *verdict `json:"response,omitempty"`
}

type request struct {
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

func webhookServer() *http.Server {
	return &http.Server{ReadHeaderTimeout: timeout, Handler: http.HandlerFunc(admit)}
}

// admit allows every object whose name does not start with "refused-".
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
	_ = json.NewEncoder(w).Encode(review{APIVersion: in.APIVersion, Kind: in.Kind, Response: v}) // a client that has gone needs no answer
}
