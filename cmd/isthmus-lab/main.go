// isthmus-lab is the one-machine cloud: Kubernetes and OpenStack on one OVN,
// from real parts only.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := root().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "isthmus-lab:", err)
		return 1
	}
	return 0
}
