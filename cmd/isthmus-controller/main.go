// Command isthmus-controller makes the network that Kubernetes' objects ask for: it
// writes OVN's northbound database or OpenStack's resources, and the pods' claims. If
// several run, one of them is the leader.
package main

import (
	"os"

	"github.com/isthmus-cni/isthmus/internal/app/controller"
)

func main() { os.Exit(controller.Main(os.Args[1:], os.Getenv)) }
