// Command isthmus-controller keeps the network what Kubernetes asks for: it
// writes OVN's northbound database and the pods' claims. One of several leads.
package main

import (
	"os"

	"github.com/isthmus-cni/isthmus/internal/app/controller"
)

func main() { os.Exit(controller.Main(os.Args[1:], os.Getenv)) }
