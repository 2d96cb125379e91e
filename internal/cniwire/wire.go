// Package cniwire is the protocol between the CNI plugin and the agent: one request
// and one response on each connection to a unix socket, with the pod's network
// namespace passed as an open file. It knows neither CNI's own formats nor what the
// agent does with a request.
package cniwire

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
)

// DefaultSocket is where the agent listens unless its options name another socket.
const DefaultSocket = "/run/isthmus/agent.sock"

// Verb is the operation that the runtime asks for.
type Verb string

// The verbs of the CNI specification.
const (
	Add    Verb = "ADD"
	Del    Verb = "DEL"
	Check  Verb = "CHECK"
	GC     Verb = "GC"
	Status Verb = "STATUS"
)

// Attachment is one interface of one sandbox: the container id, and the interface's
// name inside the pod.
type Attachment struct {
	Container string `json:"container"`
	Link      string `json:"link"`
}

// Request is what the plugin asks of the agent. The pod's network namespace is sent
// with it as an open file, because the agent cannot see the runtime's mounts.
type Request struct {
	Verb Verb `json:"verb"`
	// Attachment is empty for GC and STATUS.
	Attachment
	// NetNS is the runtime's path of the namespace; only the result needs it.
	NetNS string `json:"netns,omitempty"`
	// Namespace, Pod and UID name the pod; DEL works without them.
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty"`
	UID       string `json:"uid,omitempty"`
	// Addresses are the addresses that ADD returned, for CHECK: "10.16.0.5/16".
	Addresses []string `json:"addresses,omitempty"`
	// Keep are the attachments that GC must keep, because they still exist.
	Keep []Attachment `json:"keep,omitempty"`
}

// Response is the agent's answer. Error is nil if the request succeeded; Result is nil
// unless an ADD succeeded.
type Response struct {
	Result *Result `json:"result,omitempty"`
	Error  *Error  `json:"error,omitempty"`
}

// Result is what ADD made: the interfaces on both ends, the pod's addresses and routes.
type Result struct {
	Interfaces []Interface `json:"interfaces,omitempty"`
	Addresses  []Address   `json:"addresses,omitempty"`
	Routes     []Route     `json:"routes,omitempty"`
}

// Interface is one end of a link. NetNS is empty for the end on the node. MTU is in
// bytes; 0 means that it is not reported.
type Interface struct {
	Name  string `json:"name"`
	MAC   string `json:"mac,omitempty"`
	MTU   int    `json:"mtu,omitempty"`
	NetNS string `json:"netns,omitempty"`
}

// Address is an address in CIDR notation. Interface is an index of Result.Interfaces.
type Address struct {
	Prefix    string `json:"prefix"`
	Gateway   string `json:"gateway,omitempty"`
	Interface int    `json:"interface"`
}

// Route is a destination in CIDR notation and the address of its next hop.
type Route struct {
	To  string `json:"to"`
	Via string `json:"via,omitempty"`
}

// Error codes of the CNI specification 1.1, section "Error". Codes from 100 are the
// plugin's own.
const (
	CodeInvalidEnvironment uint = 4
	CodeDecoding           uint = 6
	CodeInvalidConfig      uint = 7
	CodeTryAgainLater      uint = 11
	CodeNotAvailable       uint = 50
	CodeInternal           uint = 999
)

// Error is a failure in the form in which the runtime receives it.
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

// decode returns the request in text. It errs if the request is not valid.
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
			return errors.New("the runtime names no pod: CNI_ARGS must have K8S_POD_NAMESPACE and K8S_POD_NAME")
		}
		return r.Attachment.validate()
	}
	return fmt.Errorf("unknown CNI verb %q: the agent knows ADD, DEL, CHECK, GC and STATUS", r.Verb)
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
