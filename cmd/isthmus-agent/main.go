// Command isthmus-agent runs on each node: it plugs pods for the CNI plugin and
// keeps the node's own network.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/isthmus-cni/isthmus/internal/app/agent"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return agent.Main(ctx, os.Args[1:], os.Getenv)
}
