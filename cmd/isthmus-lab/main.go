// isthmus-lab is the one-machine cloud: Kubernetes and OpenStack on one OVN,
// from real parts only.
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

// keepDescriptors from what we start: a lock that our caller holds must not
// be held by the lab's daemons for as long as they live.
func keepDescriptors() { _ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) }
