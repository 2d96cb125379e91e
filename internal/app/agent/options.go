package agent

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/pflag"

	"github.com/isthmus-cni/isthmus/internal/app/agent/plugmode"
	"github.com/isthmus-cni/isthmus/internal/cniwire"
	"github.com/isthmus-cni/isthmus/internal/daemon"
	"github.com/isthmus-cni/isthmus/internal/plug"
)

// Options of an agent. Default returns those of the DaemonSet.
type Options struct {
	daemon.Options
	// NodeName is the name of this Node.
	NodeName string
	// OVS is the endpoint of the node's switch database, Bridge the bridge that
	// ovn-controller uses.
	OVS, Bridge string
	// Plug is how pods are plugged: ovs, vlan, or auto to detect it.
	Plug string
	// Trunk is the interface for the pods' VLANs; empty for the one whose MAC address
	// the claims name. Namespaces is the directory of the pods' network namespaces.
	Trunk, Namespaces string
	// Socket is the path of the socket for the CNI plugin.
	Socket string
	// Plugin is the plugin's program in our image. The agent copies it to BinDir and
	// writes the network configuration to ConfDir, unless Plugin is empty.
	Plugin, BinDir, ConfDir string
}

// Default returns the options of an agent in its DaemonSet, without the Node's name.
func Default() Options {
	return Options{
		Options:    daemon.DefaultOptions(":10662"),
		OVS:        "unix:/run/openvswitch/db.sock",
		Bridge:     "br-int",
		Plug:       plugmode.Auto,
		Namespaces: "/run/netns",
		Socket:     cniwire.DefaultSocket,
		Plugin:     "/isthmus-cni",
		BinDir:     "/opt/cni/bin",
		ConfDir:    "/etc/cni/net.d",
	}
}

// Parse returns the options. Arguments override the environment, which overrides the
// defaults. The DaemonSet sets the node's name in the variable NODE_NAME.
func Parse(args []string, getenv func(string) string) (Options, error) {
	o := Default()
	o.NodeName = getenv("NODE_NAME")
	f := pflag.NewFlagSet(name, pflag.ContinueOnError)
	o.addFlags(f)
	if err := daemon.ParseFlags(f, args, getenv); err != nil {
		return Options{}, err
	}
	return o, o.Validate()
}

func (o *Options) addFlags(f *pflag.FlagSet) {
	o.AddFlags(f)
	f.StringVar(&o.NodeName, "node-name", o.NodeName, "name of this Node")
	f.StringVar(&o.OVS, "ovs", o.OVS, "endpoint of the node's Open_vSwitch database")
	f.StringVar(&o.Bridge, "bridge", o.Bridge, "integration bridge that ovn-controller serves")
	f.StringVar(&o.Plug, "plug", o.Plug, "how pods are plugged: ovs into Open vSwitch, vlan on the trunk port of a virtual machine; "+
		"auto takes the Node's label isthmus.io/plug, else ovs if Open vSwitch runs here")
	f.StringVar(&o.Trunk, "trunk-interface", o.Trunk, "interface for the pods' VLANs, by default the one with the MAC address of the trunk port")
	f.StringVar(&o.Namespaces, "netns-dir", o.Namespaces, "where the container runtime keeps the network namespaces of pods")
	f.StringVar(&o.Socket, "socket", o.Socket, "unix socket for the CNI plugin")
	f.StringVar(&o.Plugin, "cni-plugin", o.Plugin, "the CNI plugin to install; none if empty")
	f.StringVar(&o.BinDir, "cni-bin-dir", o.BinDir, "directory of CNI plugins")
	f.StringVar(&o.ConfDir, "cni-conf-dir", o.ConfDir, "directory of CNI configuration")
}

// Validate returns an error if an option is not valid.
func (o Options) Validate() error {
	if o.NodeName == "" {
		return errors.New("the node's name is not known: set NODE_NAME or --node-name")
	}
	if !slices.Contains([]string{plugmode.Auto, string(plug.OVS), string(plug.VLAN)}, o.Plug) {
		return fmt.Errorf("--plug is %q, not auto, ovs or vlan", o.Plug)
	}
	if o.Plugin != "" && (o.BinDir == "" || o.ConfDir == "") {
		return errors.New("--cni-plugin needs --cni-bin-dir and --cni-conf-dir")
	}
	return nil
}

// plugMode returns the options that plugmode.Choose needs.
func (o Options) plugMode() plugmode.Options {
	return plugmode.Options{Plug: o.Plug, Node: o.NodeName, OVS: o.OVS, Listen: o.Listen}
}
