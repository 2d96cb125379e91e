package netdev

import (
	"fmt"
	"os"
	"runtime"

	"github.com/containernetworking/plugins/pkg/netlinksafe"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Namespace is a network namespace held open: the pod's, or the node's own.
type Namespace struct {
	file *os.File
	netlinksafe.Handle
}

// OpenNamespace returns the namespace that file refers to, and takes the file over:
// Close closes it. The file may have come over a socket: it needs no path here.
func OpenNamespace(file *os.File) (*Namespace, error) {
	h, err := netlinksafe.NewHandleAt(netns.NsHandle(file.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("open the network namespace %s: %w", file.Name(), err)
	}
	return &Namespace{file: file, Handle: h}, nil
}

// Close closes the namespace's file; what is in the namespace stays.
func (n *Namespace) Close() {
	n.Handle.Close()
	n.file.Close()
}

func (n *Namespace) fd() int { return int(n.file.Fd()) }

// do runs f on a thread that is inside the namespace. f must start no goroutines.
func (n *Namespace) do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine. So no other goroutine
		// ever runs in the wrong namespace.
		runtime.LockOSThread()
		if err := unix.Setns(n.fd(), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter the network namespace: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}
