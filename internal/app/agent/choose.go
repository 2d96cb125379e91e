package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/daemon"
	"github.com/isthmus-cni/isthmus/internal/plug"
)

// plugAuto has the agent find out how pods are plugged.
const plugAuto = "auto"

// choice is how this node plugs pods. It was found if nobody said it.
type choice struct {
	mode  plug.Mode
	found bool
}

// choose goes by the option, then by the Node's label, then by what runs here. A
// node with a switch does not wait for the API server: its pods may have to be
// taken down meanwhile, and a label that says otherwise ends the agent later.
func choose(ctx context.Context, o Options, nodes client.Reader, log *slog.Logger) (choice, error) {
	if o.Plug != plugAuto {
		return choice{mode: plug.Mode(o.Plug)}, nil
	}
	there := hasSwitch(o.OVS)
	self, err := getSelf(ctx, o.NodeName, nodes)
	switch {
	case err != nil && there:
		log.Warn("cannot read how this node plugs pods, going by the Open vSwitch that is here", "node", o.NodeName, "err", err)
		return choice{plug.OVS, true}, nil
	case err != nil:
		if self, err = awaitSelf(ctx, o, nodes, log); err != nil {
			return choice{}, err
		}
	}
	if asked := v1.PlugAsked(self.Labels); asked != "" {
		return choice{mode: plug.Mode(asked)}, nil
	}
	return choice{find(self, there), true}, nil
}

// find tells Open vSwitch that is stopped for a while from none by what was told
// before, which is still on the Node: of an underlay only where a switch was.
func find(self *corev1.Node, hasSwitch bool) plug.Mode {
	if hasSwitch || self.Annotations[v1.AnnotationUnderlayMTU] != "" {
		return plug.OVS
	}
	return plug.Mode(cmp.Or(self.Annotations[v1.Plug], v1.PlugVLAN))
}

// awaitSelf asks until there is an answer. It is alive meanwhile: an agent that is
// killed for having to wait comes back later and later.
func awaitSelf(ctx context.Context, o Options, nodes client.Reader, log *slog.Logger) (self *corev1.Node, err error) {
	if o.Listen == daemon.NoListen {
		return askSelf(ctx, o.NodeName, nodes, log)
	}
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for health: %w", err)
	}
	err = alive(l, func() (err error) {
		self, err = askSelf(ctx, o.NodeName, nodes, log)
		return err
	})
	return self, err
}

// alive serves the endpoints of an agent that is healthy but not ready while f runs.
// It closes l and returns f's error.
func alive(l net.Listener, f func() error) error {
	ctx, stop := context.WithCancel(context.Background())
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

func askSelf(ctx context.Context, name string, nodes client.Reader, log *slog.Logger) (*corev1.Node, error) {
	for retry := firstRetry; ; retry = min(2*retry, lastRetry) {
		self, err := getSelf(ctx, name, nodes)
		if err == nil {
			return self, nil
		}
		if retry == firstRetry {
			log.Warn("cannot read how this node plugs pods, trying again", "node", name, "err", err)
		}
		if !pause(ctx, retry) {
			return nil, err
		}
	}
}

// answerTime is how long the API server may take to say what a Node is like.
const answerTime = 5 * time.Second

// getSelf is the Node as it is, empty if there is none yet.
func getSelf(ctx context.Context, name string, nodes client.Reader) (*corev1.Node, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	self := &corev1.Node{}
	if err := nodes.Get(ctx, client.ObjectKey{Name: name}, self); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("get Node %s: %w", name, err)
	}
	return self, nil
}

// hasSwitch is true if a switch database listens there, as far as a file tells.
// One that cannot be looked at is no virtual machine's.
func hasSwitch(endpoint string) bool {
	file, local := strings.CutPrefix(endpoint, "unix:")
	if !local {
		return true
	}
	_, err := os.Stat(file)
	return !errors.Is(err, fs.ErrNotExist)
}

// errOtherWay ends an agent whose node plugs pods otherwise by now: it is
// started again, and then knows.
var errOtherWay = errors.New("this node is to plug pods in another way now: the agent has to start again")

// contradicted says that the Node's label asks for another way than this.
func (n *node) contradicted(self *corev1.Node) error {
	mode := n.pods.way.mode()
	if asked := v1.PlugAsked(self.Labels); !n.fixed && asked != "" && asked != string(mode) {
		return fmt.Errorf("label of Node %s asks for plug %s, not %s: %w", self.Name, asked, mode, errOtherWay)
	}
	return nil
}

// lookForSwitch is how often a node looks where it cannot be told.
const lookForSwitch = 5 * time.Second

// watchForSwitch ends the agent when Open vSwitch runs on a node that seemed to
// have none: it may only have started after us. Where the kernel has no watch left
// for us, we look now and then.
func watchForSwitch(ctx context.Context, endpoint string, every time.Duration, log *slog.Logger) error {
	err := switchComes(ctx, endpoint)
	if err == nil || errors.Is(err, errOtherWay) {
		return err
	}
	log.Warn("nobody tells when Open vSwitch is started on this node, looking for it", "every", every, "err", err)
	for !hasSwitch(endpoint) {
		if !pause(ctx, every) {
			return nil
		}
	}
	return switchCame(endpoint)
}

func switchCame(endpoint string) error {
	return fmt.Errorf("there is an Open vSwitch now, %s: %w", endpoint, errOtherWay)
}

// switchComes is nil when ctx ends first.
func switchComes(ctx context.Context, endpoint string) error {
	file := strings.TrimPrefix(endpoint, "unix:")
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch for %s: %w", file, err)
	}
	defer w.Close()
	if err := w.Add(filepath.Dir(file)); err != nil {
		return fmt.Errorf("watch for %s: %w", file, err)
	}
	for !hasSwitch(endpoint) {
		select {
		case <-w.Events:
		case err := <-w.Errors:
			return fmt.Errorf("watch for %s: %w", file, err)
		case <-ctx.Done():
			return nil
		}
	}
	return switchCame(endpoint)
}
