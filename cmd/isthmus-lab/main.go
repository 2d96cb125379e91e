// Command isthmus-lab runs a cloud on one machine: Kubernetes and OpenStack on one OVN, all
// of them real, without fakes.
package main

import (
	"context"
	"math"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

func main() { os.Exit(run()) }

func run() int {
	keepDescriptors()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return code(root().ExecuteContext(ctx))
}

// keepDescriptors closes our caller's file descriptors in the programs that we start.
// Otherwise the lab's daemons would keep a lock of our caller while they run.
func keepDescriptors() { _ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) }
