// Package cniwire knows what the CNI plugin and the agent say to each other:
// one request and one response on each connection to a unix socket, with the
// pod's network namespace passed as an open file. It knows neither CNI's own
// formats nor what the agent does with a request.
package cniwire

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
)

// DefaultSocket is where the agent listens unless it is told otherwise.
const DefaultSocket = "/run/isthmus/agent.sock"

// Verb is what the runtime asks for.
type Verb string

// The verbs of the CNI specification.
const (
	Add    Verb = "ADD"
	Del    Verb = "DEL"
	Check  Verb = "CHECK"
	GC     Verb = "GC"
	Status Verb = "STATUS"
)

// Attachment is one interface of one sandbox.
type Attachment struct {
	Container string `json:"container"`
	Link      string `json:"link"`
}

// Request is what the plugin asks of the agent. The namespace itself travels
// beside it as an open file, because the agent cannot see the runtime's mounts.
type Request struct {
	Verb Verb `json:"verb"`
	// Attachment is empty for GC and STATUS.
	Attachment
	// NetNS is the namespace's path as the runtime named it, for the result only.
	NetNS string `json:"netns,omitempty"`
	// Namespace, Pod and UID name the pod; DEL works without them.
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty"`
	UID       string `json:"uid,omitempty"`
	// Addresses are those that ADD gave, for CHECK: "10.16.0.5/16".
	Addresses []string `json:"addresses,omitempty"`
	// Keep is what is still alive, for GC.
	Keep []Attachment `json:"keep,omitempty"`
}

// Response is the agent's answer: an Error, or else, for ADD, a Result.
type Response struct {
	Result *Result `json:"result,omitempty"`
	Error  *Error  `json:"error,omitempty"`
}

// Result is what ADD made.
type Result struct {
	Interfaces []Interface `json:"interfaces,omitempty"`
	Addresses  []Address   `json:"addresses,omitempty"`
	Routes     []Route     `json:"routes,omitempty"`
}

// Interface is one end of a link; NetNS is empty for the node's own.
type Interface struct {
	Name  string `json:"name"`
	MAC   string `json:"mac,omitempty"`
	MTU   int    `json:"mtu,omitempty"`
	NetNS string `json:"netns,omitempty"`
}

// Address is on the interface of that index in Result.Interfaces.
type Address struct {
	Prefix    string `json:"prefix"`
	Gateway   string `json:"gateway,omitempty"`
	Interface int    `json:"interface"`
}

// Route is a destination and its next hop.
type Route struct {
	To  string `json:"to"`
	Via string `json:"via,omitempty"`
}

// Codes of the CNI specification that the agent uses.
const (
	CodeInvalidEnvironment uint = 4
	CodeDecoding           uint = 6
	CodeInvalidConfig      uint = 7
	CodeTryAgainLater      uint = 11
	CodeNotAvailable       uint = 50
	CodeInternal           uint = 999
)

// Error is a failure as the runtime is told of it.
type Error struct {
	Code    uint   `json:"code"`
	Msg     string `json:"msg"`
	Details string `json:"details,omitempty"`
}

func (e *Error) Error() string {
	if e.Details == "" {
		return e.Msg
	}
	return e.Msg + ": " + e.Details
}

var (
	containerID = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`)
	linkName    = regexp.MustCompile(`^[^/:\s\x00]{1,15}$`)
)

// decode reads a request and refuses what no runtime would say.
func decode(text []byte) (Request, error) {
	var r Request
	if err := json.Unmarshal(text, &r); err != nil {
		return Request{}, fmt.Errorf("decode request: %w", err)
	}
	return r, r.validate()
}

func (r Request) validate() error {
	switch r.Verb {
	case GC, Status:
		return nil
	case Del:
		return r.Attachment.validate()
	case Add, Check:
		if r.Pod == "" || r.Namespace == "" {
			return errors.New("the runtime names no pod: CNI_ARGS needs K8S_POD_NAMESPACE and K8S_POD_NAME")
		}
		return r.Attachment.validate()
	}
	return fmt.Errorf("verb %q is none of ADD, DEL, CHECK, GC, STATUS", r.Verb)
}

func (a Attachment) validate() error {
	if !containerID.MatchString(a.Container) {
		return fmt.Errorf("container id %q is not valid", a.Container)
	}
	if !linkName.MatchString(a.Link) || a.Link == "." || a.Link == ".." {
		return fmt.Errorf("interface name %q is not valid", a.Link)
	}
	return nil
}
