// Command isthmus-cni is the CNI plugin: it hands what the container runtime
// asks to the node's agent, and the agent's answer back. It decides nothing.
package main

import (
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/version"
)

func main() {
	p := plugin{}
	skel.PluginMainFuncs(skel.CNIFuncs{
		Add: p.add, Del: p.del, Check: p.check, GC: p.gc, Status: p.status,
	}, version.All, "isthmus-cni asks the node's isthmus-agent")
}
