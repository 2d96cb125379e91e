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
	closeOnExec()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return exitCode(root().ExecuteContext(ctx))
}

// closeOnExec makes the programs that we start not inherit our caller's file descriptors.
// Otherwise the lab's daemons would keep a lock of our caller while they run.
func closeOnExec() { _ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) }
