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

// OpenNamespace returns the namespace that file refers to. The namespace owns the
// file: Close closes it. The file may come from a socket, so it needs no path.
func OpenNamespace(file *os.File) (*Namespace, error) {
	h, err := netlinksafe.NewHandleAt(netns.NsHandle(file.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("open the network namespace %s: %w", file.Name(), err)
	}
	return &Namespace{file: file, Handle: h}, nil
}

// Close closes the namespace's file. The links in the namespace stay.
func (n *Namespace) Close() {
	n.Handle.Close()
	n.file.Close()
}

func (n *Namespace) fd() int { return int(n.file.Fd()) }

// do runs f on a thread that is inside the namespace. f must start no goroutines.
func (n *Namespace) do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		// The thread is never unlocked, so that it ends with the goroutine and no other
		// goroutine runs in the wrong namespace.
		runtime.LockOSThread()
		if err := unix.Setns(n.fd(), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter the network namespace: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}
