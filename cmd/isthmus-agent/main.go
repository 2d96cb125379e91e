// Command isthmus-agent runs on each node: it plugs pods for the CNI plugin and
// keeps the node's own network.
package main

import (
	"os"

	"github.com/isthmus-cni/isthmus/internal/app/agent"
)

func main() { os.Exit(agent.Main(os.Args[1:], os.Getenv)) }
