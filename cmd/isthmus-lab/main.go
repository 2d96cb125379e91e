// isthmus-lab is the one-machine cloud: Kubernetes and OpenStack on one OVN,
// from real parts only.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return code(root().ExecuteContext(ctx))
}
