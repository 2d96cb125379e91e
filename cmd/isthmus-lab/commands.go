package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"

	"github.com/spf13/cobra"

	"github.com/isthmus-cni/isthmus/internal/lab"
	"github.com/isthmus-cni/isthmus/internal/lab/host"
)

func root() *cobra.Command {
	r := &cobra.Command{
		Use:           "isthmus-lab",
		Short:         "Kubernetes and OpenStack on one OVN, on this machine",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	dir := r.PersistentFlags().String("dir", cmp.Or(os.Getenv(lab.DirEnv), lab.Dir), "where the lab keeps its state; or $"+lab.DirEnv)
	r.AddCommand(
		up(dir), down(dir), status(dir), plan(dir), doctor(dir), env(dir),
		execute(dir), vm(dir), load(dir), logs(dir), stop(dir), start(dir), kill(dir),
		buildImages(), keepAddress(),
	)
	return r
}

// exitCode returns the exit code for err. It prints err, except for lab.Exit: the command
// that failed has printed its own error.
func exitCode(err error) int {
	var exit lab.Exit
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.Code
	}
	fmt.Fprintln(os.Stderr, "isthmus-lab:", err)
	return 1
}

func up(dir *string) *cobra.Command {
	return labOptionsCommand(dir, &cobra.Command{Use: "up", Short: "Start the lab, or mend one that is there"},
		func(c *cobra.Command, l *lab.Lab) error { return l.Up(c.Context()) })
}

func plan(dir *string) *cobra.Command {
	return labOptionsCommand(dir, &cobra.Command{Use: "plan", Short: "Print what up would run"},
		func(_ *cobra.Command, l *lab.Lab) error { return l.Plan() })
}

func doctor(dir *string) *cobra.Command {
	return labOptionsCommand(dir, &cobra.Command{Use: "doctor", Short: "Tell what the machine lacks, and what mends it"},
		func(_ *cobra.Command, l *lab.Lab) error { return l.Doctor() })
}

// labOptionsCommand returns c as a command whose flags describe the wanted lab.
func labOptionsCommand(dir *string, c *cobra.Command, do func(*cobra.Command, *lab.Lab) error) *cobra.Command {
	o := lab.Default()
	c.Args = cobra.NoArgs
	c.RunE = func(c *cobra.Command, _ []string) error {
		o.Dir = *dir
		if have, err := lab.Load(*dir); err == nil {
			keepExisting(c, "underlay", &o.Underlay, have.Underlay)
			keepExisting(c, "profile", &o.Profile, have.Profile)
			keepExisting(c, "fabric", &o.Fabric, have.Fabric)
			keepExisting(c, "mixed", &o.Mixed, have.Mixed && o.Profile == have.Profile)
		}
		if !o.OpenStack && !c.Flags().Changed("vms") {
			o.VMs = 0
		}
		return do(c, lab.New(o, os.Stdout))
	}
	f := c.Flags()
	f.IntVar(&o.Nodes, "nodes", o.Nodes, "how many nodes")
	f.TextVar(&o.Underlay, "underlay", o.Underlay, "network that joins the nodes; a second lab needs another, and another --dir")
	f.IntVar(&o.VMs, "vms", o.VMs, "how many virtual machines")
	f.BoolVar(&o.OpenStack, "openstack", o.OpenStack, "run Keystone and Neutron")
	f.BoolVar(&o.Octavia, "octavia", o.Octavia, "run Octavia with OpenStack")
	f.BoolVar(&o.Isthmus, "isthmus", o.Isthmus, "deploy Isthmus into the cluster")
	f.BoolVar(&o.KubeProxy, "kube-proxy", o.KubeProxy, "run kube-proxy on the nodes")
	f.StringVar(&o.Profile, "profile", o.Profile, "how the two clouds share the network")
	f.StringVar(&o.Fabric, "fabric", o.Fabric, "with profile nested, who makes the pods' networks: neutron or ovn")
	f.BoolVar(&o.Mixed, "mixed", o.Mixed, "with profile nested, make the last host a node of Kubernetes, too")
	f.StringVar(&o.Repo, "repo", o.Repo, "source tree with manifests and images")
	f.StringVar(&o.KubeBin, "kube-bin", o.KubeBin, "directory with Kubernetes' programs")
	return c
}

// keepExisting sets option to the value of the existing lab unless the flag is set.
func keepExisting[T any](c *cobra.Command, flag string, option *T, have T) {
	if !c.Flags().Changed(flag) {
		*option = have
	}
}

func down(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Stop the lab and leave nothing of it",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o := lab.Default()
			o.Dir = *dir
			return lab.New(o, os.Stdout).Down(c.Context())
		},
	}
}

func env(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "env",
		Short: `Print exports; use it as: eval "$(isthmus-lab env)"`,
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			o, err := lab.Load(*dir)
			if err != nil {
				return err
			}
			fmt.Print(lab.New(o, os.Stdout).Env())
			return nil
		},
	}
}

// keepAddress returns a hidden command that the lab runs on its nodes.
func keepAddress() *cobra.Command {
	c := &cobra.Command{Use: "keep-address", Hidden: true, Args: cobra.NoArgs}
	var a host.Address
	var prefix string
	f := c.Flags()
	f.StringVar(&a.Link, "link", "", "")
	f.StringVar(&prefix, "address", "", "")
	f.TextVar(&a.Gateway, "gateway", netip.Addr{}, "")
	neighbours := f.StringToString("neighbour", nil, "")
	c.RunE = func(c *cobra.Command, _ []string) (err error) {
		if a.Prefix, err = netip.ParsePrefix(prefix); err != nil {
			return err
		}
		return lab.KeepAddress(c.Context(), a, *neighbours, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	}
	return c
}
