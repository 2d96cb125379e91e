package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/agent/claim"
	"github.com/isthmus-cni/isthmus/internal/cniwire"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/netdev"
	"github.com/isthmus-cni/isthmus/internal/plug"
)

// claims returns pods' claims.
type claims interface {
	// Await waits until the claim of that name belongs to the pod with that UID, and
	// returns it. If ctx ends first, the error says what is wrong with the claim.
	Await(ctx context.Context, name, uid string) (*v1.IP, error)
}

// The kubelet ends an ADD after two minutes. It repeats an ADD that we have ended.
const (
	addTimeout   = 25 * time.Second
	checkTimeout = 5 * time.Second
)

// plugger plugs this node's pods. It keeps no state: links and ports have names that
// depend on the sandbox, and the switch's database or a link's alias has the owner.
type plugger struct {
	claims   claims
	attacher attacher
	machine  *netdev.Machine
	locks    sandboxLocks
}

// handle carries out the plugin's request. The result is nil for all verbs except ADD.
// netns may be nil; the caller closes it.
func (p *plugger) handle(ctx context.Context, r cniwire.Request, netns *os.File) (*cniwire.Result, error) {
	switch r.Verb {
	case cniwire.Status:
		return nil, p.attacher.ready()
	case cniwire.GC:
		return nil, p.gc(ctx, r.Keep)
	default:
		return p.handleSandbox(ctx, r, netns)
	}
}

// handleSandbox carries out a request for one sandbox, one request at a time.
func (p *plugger) handleSandbox(ctx context.Context, r cniwire.Request, netns *os.File) (*cniwire.Result, error) {
	unlock, err := p.locks.lock(ctx, r.Container)
	if err != nil {
		return nil, err
	}
	defer unlock()
	switch r.Verb {
	case cniwire.Add:
		return p.add(ctx, r, netns)
	case cniwire.Del:
		return nil, p.del(ctx, r, netns)
	case cniwire.Check:
		return nil, p.check(ctx, r, netns)
	default:
		return nil, fmt.Errorf("unknown CNI verb %q", r.Verb)
	}
}

func (p *plugger) add(ctx context.Context, r cniwire.Request, netns *os.File) (*cniwire.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, addTimeout)
	defer cancel()
	port, steps, err := p.plan(ctx, r)
	if err != nil {
		return nil, err
	}
	pod, err := open(netns)
	if err != nil {
		return nil, err
	}
	defer pod.Close()
	if err := p.machine.Do(ctx, pod, steps); err != nil {
		return nil, fmt.Errorf("plug pod %s: %w", port.Pod, err)
	}
	return claim.Result(port, r.NetNS), nil
}

// plan waits for the pod's claim and returns its port and the steps to plug it.
func (p *plugger) plan(ctx context.Context, r cniwire.Request) (plug.Port, []plug.Step, error) {
	if r.UID == "" {
		return plug.Port{}, nil, &cniwire.Error{
			Code: cniwire.CodeInvalidEnvironment, Msg: "the container runtime does not pass K8S_POD_UID",
			Details: "containerd passes it since 1.6 and CRI-O since 1.22; without it, this pod cannot be told from an earlier pod of the same name",
		}
	}
	ip, err := p.claims.Await(ctx, decide.PodPort(r.Namespace, r.Pod), r.UID)
	if err != nil {
		return plug.Port{}, nil, err
	}
	port, err := claim.Port(ip, r.Attachment)
	if err != nil {
		return plug.Port{}, nil, err
	}
	node, err := p.attacher.node(port)
	if err != nil {
		return plug.Port{}, nil, err
	}
	steps, err := plug.Steps(port, node)
	return port, steps, err
}

// del needs no claim. If the pod's namespace is gone, it removes everything from the
// node's side.
func (p *plugger) del(ctx context.Context, r cniwire.Request, netns *os.File) error {
	pod, err := open(netns)
	if err == nil {
		defer pod.Close()
	}
	return p.machine.Undo(ctx, pod, plug.Remains(p.attacher.mode(), r.Container, r.Link))
}

func (p *plugger) check(ctx context.Context, r cniwire.Request, netns *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	port, steps, err := p.plan(ctx, r)
	if err != nil {
		return err
	}
	for _, a := range port.Addrs {
		if len(r.Addresses) > 0 && !slices.Contains(r.Addresses, a.String()) {
			return fmt.Errorf("check pod %s: ADD returned %v, but the claim has %s", port.Pod, r.Addresses, a)
		}
	}
	pod, err := open(netns)
	if err != nil {
		return err
	}
	defer pod.Close()
	if err := p.machine.Check(pod, steps); err != nil {
		return fmt.Errorf("check pod %s: %w", port.Pod, err)
	}
	return nil
}

// gc removes our links and ports that belong to none of keep. The runtime should send no
// other request meanwhile; if it does, gc leaves that sandbox alone.
func (p *plugger) gc(ctx context.Context, keep []cniwire.Attachment) error {
	inUse := map[string]bool{}
	for _, a := range keep {
		for _, name := range plug.HostNames(a.Container, a.Link) {
			inUse[name] = true
		}
	}
	return p.attacher.sweep(ctx, inUse, &p.locks)
}

// open returns the pod's namespace, with its own open file. It errs if netns is nil.
func open(netns *os.File) (*netdev.Namespace, error) {
	if netns == nil {
		return nil, &cniwire.Error{Code: cniwire.CodeInvalidEnvironment, Msg: "the CNI plugin passed no network namespace"}
	}
	file, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", netns.Fd()))
	if err != nil {
		return nil, fmt.Errorf("open the pod's network namespace: %w", err)
	}
	return netdev.OpenNamespace(file)
}

// cniError returns err as a CNI error; nil if err is nil. A temporary error becomes "try
// again later"; for STATUS, every error becomes "plugin not available" (CNI
// specification 1.1, section "STATUS").
func cniError(v cniwire.Verb, err error) *cniwire.Error {
	if err == nil {
		return nil
	}
	var e *cniwire.Error
	if !errors.As(err, &e) {
		e = &cniwire.Error{Code: cniwire.CodeInternal, Msg: "isthmus: " + string(v) + " failed", Details: err.Error()}
		if isTemporary(err) {
			e.Code, e.Msg = cniwire.CodeTryAgainLater, "isthmus: try again later"
		}
	}
	if v == cniwire.Status {
		return &cniwire.Error{Code: cniwire.CodeNotAvailable, Msg: e.Msg, Details: e.Details}
	}
	return e
}

func isTemporary(err error) bool {
	return errors.Is(err, netdev.ErrNotConnected) || errors.Is(err, netdev.ErrVLANTaken) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
