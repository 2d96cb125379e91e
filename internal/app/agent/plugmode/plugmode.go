// Package plugmode knows how a node plugs its pods: into its own Open vSwitch, or, on a
// virtual machine, as VLANs on its trunk port. It detects the mode when the agent starts
// and notices when the mode changes. It plugs nothing. Read Choose first.
package plugmode

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/daemon"
	"github.com/isthmus-cni/isthmus/internal/plug"
	"github.com/isthmus-cni/isthmus/internal/retry"
)

// Auto is the value of Options.Plug with which the agent detects the mode.
const Auto = "auto"

// Options are the input of Choose.
type Options struct {
	// Plug is ovs, vlan or Auto.
	Plug string
	// Node is the name of this Node.
	Node string
	// OVS is the endpoint of the node's Open_vSwitch database.
	OVS string
	// Listen is the address at which the agent is healthy, but not ready, while it
	// waits for the API server; daemon.NoListen for none.
	Listen string
}

// Choice is how this node plugs pods.
type Choice struct {
	Mode plug.Mode
	// Detected is true if neither the option nor the Node's label sets the mode.
	Detected bool
}

// ErrChanged ends an agent when the mode of its node changes. The kubelet starts the
// agent again, which then chooses the new mode.
var ErrChanged = errors.New("this node now plugs pods in another way: the agent must start again")

// Choose returns the mode that the option sets, else the Node's label, else whether Open
// vSwitch runs on this node. It errs only if ctx ends first. On a node with a switch it
// does not wait for the API server, because the runtime may have pods to delete. If the
// label then asks for the other mode, CheckLabel ends the agent later.
func Choose(ctx context.Context, o Options, nodes client.Reader, log *slog.Logger) (Choice, error) {
	if o.Plug != Auto {
		return Choice{Mode: plug.Mode(o.Plug)}, nil
	}
	running := HasSwitch(o.OVS)
	node, err := getNode(ctx, o.Node, nodes)
	switch {
	case err != nil && running:
		log.Warn("reading the Node failed, its Open vSwitch decides how pods are plugged", "node", o.Node, "err", err)
		return Choice{plug.OVS, true}, nil
	case err != nil:
		if node, err = waitForNode(ctx, o, nodes, log); err != nil {
			return Choice{}, err
		}
	}
	if asked := v1.PlugAsked(node.Labels); asked != "" {
		return Choice{Mode: plug.Mode(asked)}, nil
	}
	return Choice{detect(node, running), true}, nil
}

// CheckLabel returns ErrChanged, wrapped, if the label of the Node asks for
// another mode than the one that the agent runs in.
func CheckLabel(node *corev1.Node, mode plug.Mode) error {
	if asked := v1.PlugAsked(node.Labels); asked != "" && asked != string(mode) {
		return fmt.Errorf("label of Node %s asks for plug %s, not %s: %w", node.Name, asked, mode, ErrChanged)
	}
	return nil
}

// detect returns the mode of a node without a label. If Open vSwitch is stopped, detect
// recognises it by an annotation of an earlier run: only a node with a switch has the
// MTU of an underlay.
func detect(node *corev1.Node, hasSwitch bool) plug.Mode {
	if hasSwitch || node.Annotations[v1.AnnotationUnderlayMTU] != "" {
		return plug.OVS
	}
	return plug.Mode(cmp.Or(node.Annotations[v1.Plug], v1.PlugVLAN))
}

// NeedsSwitch returns whether a cleanup of the node needs Open vSwitch: it is there, or
// the Node's annotations say that the last agent used it and left ports in its database.
// It errs if the Node cannot be read.
func NeedsSwitch(ctx context.Context, name, endpoint string, nodes client.Reader) (bool, error) {
	node, err := getNode(ctx, name, nodes)
	if err != nil {
		return false, err
	}
	return detect(node, HasSwitch(endpoint)) == plug.OVS, nil
}

// HasSwitch returns whether the socket of a switch's database exists. It returns true if
// the socket cannot be read, because only a virtual machine has none.
func HasSwitch(endpoint string) bool {
	file, local := strings.CutPrefix(endpoint, "unix:")
	if !local {
		return true
	}
	_, err := os.Stat(file)
	return !errors.Is(err, fs.ErrNotExist)
}

// waitForNode reads the Node until the API server answers. The agent is healthy meanwhile:
// if the kubelet killed it, the kubelet would wait longer before each new start.
func waitForNode(ctx context.Context, o Options, nodes client.Reader, log *slog.Logger) (*corev1.Node, error) {
	if o.Listen == daemon.NoListen {
		return retryGetNode(ctx, o.Node, nodes, log)
	}
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for health: %w", err)
	}
	var node *corev1.Node
	err = healthyWhile(ctx, l, func() (err error) {
		node, err = retryGetNode(ctx, o.Node, nodes, log)
		return err
	})
	return node, err
}

// healthyWhile runs f and serves the endpoints of an agent that is healthy but not ready
// until f returns. It closes l and returns f's error.
func healthyWhile(ctx context.Context, l net.Listener, f func() error) error {
	ctx, stop := context.WithCancel(ctx)
	e := daemon.Endpoints{Ready: func() error {
		return errors.New("waiting for the API server to say how this node plugs pods")
	}}
	var served sync.WaitGroup
	served.Go(func() { _ = e.Serve(ctx, l) }) // f's error is the one that matters
	defer served.Wait()
	defer l.Close()
	defer stop()
	return f()
}

// nodeBackoff has the pauses between requests for the Node while the API server does not
// answer.
var nodeBackoff = retry.Backoff{First: 50 * time.Millisecond, Longest: 2 * time.Second}

func retryGetNode(ctx context.Context, name string, nodes client.Reader, log *slog.Logger) (node *corev1.Node, _ error) {
	var warn sync.Once
	err := nodeBackoff.Until(ctx, func(ctx context.Context) (err error) {
		node, err = getNode(ctx, name, nodes)
		return err
	}, func(err error) {
		warn.Do(func() {
			log.Warn("reading the Node failed, trying until the API server answers", "node", name, "err", err)
		})
	})
	return node, err
}

// getNodeTimeout bounds one request for the Node.
const getNodeTimeout = 5 * time.Second

// getNode returns the Node; an empty one if the Node does not exist yet.
func getNode(ctx context.Context, name string, nodes client.Reader) (*corev1.Node, error) {
	ctx, cancel := context.WithTimeout(ctx, getNodeTimeout)
	defer cancel()
	node := &corev1.Node{}
	if err := nodes.Get(ctx, client.ObjectKey{Name: name}, node); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("get Node %s: %w", name, err)
	}
	return node, nil
}
