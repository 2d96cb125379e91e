// Command isthmus-cni is the CNI plugin: it passes the container runtime's request to
// the node's agent, and the agent's response to the runtime. It decides nothing.
package main

import (
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/version"
)

func main() {
	p := plugin{}
	skel.PluginMainFuncs(skel.CNIFuncs{
		Add: p.add, Del: p.del, Check: p.check, GC: p.gc, Status: p.status,
	}, version.All, "isthmus-cni passes requests to the node's isthmus-agent")
}
