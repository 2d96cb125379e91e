package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/cniwire"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/netdev"
	"github.com/isthmus-cni/isthmus/internal/plug"
)

// claims is where a pod's claim comes from.
type claims interface {
	// Await returns the claim of that name as soon as it is for the pod with
	// that UID; if ctx ends first, an error that says what there is instead.
	Await(ctx context.Context, name, uid string) (*v1.IP, error)
}

// addTime bounds ADD. The kubelet gives up after two minutes, and tries again
// by itself when we give up.
const (
	addTime   = 25 * time.Second
	checkTime = 5 * time.Second
)

// pods plugs this node's pods. It remembers nothing: what it made is named after
// the sandbox, and says in the switch's database or in its alias whose it is.
type pods struct {
	claims  claims
	way     way
	machine *netdev.Machine
	busy    busy
}

// ask does what the plugin asks. netns is closed by the caller.
func (p *pods) ask(ctx context.Context, r cniwire.Request, netns *os.File) (*cniwire.Result, error) {
	switch r.Verb {
	case cniwire.Status:
		return nil, p.way.ready()
	case cniwire.GC:
		return nil, p.collect(ctx, r.Keep)
	}
	free, err := p.busy.one(ctx, r.Container)
	if err != nil {
		return nil, err
	}
	defer free()
	switch r.Verb {
	case cniwire.Add:
		return p.add(ctx, r, netns)
	case cniwire.Del:
		return nil, p.del(ctx, r, netns)
	case cniwire.Check:
		return nil, p.check(ctx, r, netns)
	}
	return nil, fmt.Errorf("nobody knows how to do %q", r.Verb)
}

func (p *pods) add(ctx context.Context, r cniwire.Request, netns *os.File) (*cniwire.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, addTime)
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
	return resultOf(port, r.NetNS), nil
}

// plan waits for the claim and says what it takes.
func (p *pods) plan(ctx context.Context, r cniwire.Request) (plug.Port, []plug.Step, error) {
	if r.UID == "" {
		return plug.Port{}, nil, &cniwire.Error{
			Code: cniwire.CodeInvalidEnvironment, Msg: "the container runtime does not pass K8S_POD_UID",
			Details: "containerd since 1.6 and CRI-O since 1.22 do; without it an earlier pod of that name could not be told apart",
		}
	}
	claim, err := p.claims.Await(ctx, decide.PodPort(r.Namespace, r.Pod), r.UID)
	if err != nil {
		return plug.Port{}, nil, err
	}
	port, err := portOf(claim, r.Attachment)
	if err != nil {
		return plug.Port{}, nil, err
	}
	node, err := p.way.node(port)
	if err != nil {
		return plug.Port{}, nil, err
	}
	steps, err := plug.Steps(port, node)
	return port, steps, err
}

// del needs no claim. Without the pod's namespace, which may be gone, the rest is
// found from the node.
func (p *pods) del(ctx context.Context, r cniwire.Request, netns *os.File) error {
	pod, err := open(netns)
	if err == nil {
		defer pod.Close()
	}
	return p.machine.Undo(ctx, pod, plug.Remains(p.way.mode(), r.Container, r.Link))
}

func (p *pods) check(ctx context.Context, r cniwire.Request, netns *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	port, steps, err := p.plan(ctx, r)
	if err != nil {
		return err
	}
	for _, a := range port.Addrs {
		if len(r.Addresses) > 0 && !slices.Contains(r.Addresses, a.String()) {
			return fmt.Errorf("check pod %s: it was given %v, but its claim says %s", port.Pod, r.Addresses, a)
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

// collect removes what is ours and belongs to none of keep. The runtime asks
// nothing else meanwhile; if it does all the same, that sandbox is left alone.
func (p *pods) collect(ctx context.Context, keep []cniwire.Attachment) error {
	alive := map[string]bool{}
	for _, a := range keep {
		for _, name := range plug.HostNames(a.Container, a.Link) {
			alive[name] = true
		}
	}
	return p.way.sweep(ctx, alive, &p.busy)
}

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

// failure is how the runtime is told of err: what may pass is to be tried again.
func failure(v cniwire.Verb, err error) *cniwire.Error {
	if err == nil {
		return nil
	}
	var told *cniwire.Error
	if !errors.As(err, &told) {
		told = &cniwire.Error{Code: cniwire.CodeInternal, Msg: "isthmus: " + string(v) + " failed", Details: err.Error()}
		if passing(err) {
			told.Code, told.Msg = cniwire.CodeTryAgainLater, "isthmus: try again later"
		}
	}
	if v == cniwire.Status {
		return &cniwire.Error{Code: cniwire.CodeNotAvailable, Msg: told.Msg, Details: told.Details}
	}
	return told
}

func passing(err error) bool {
	return errors.Is(err, netdev.ErrAway) || errors.Is(err, netdev.ErrVLANTaken) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
