package main

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/isthmus-cni/isthmus/internal/lab"
	"github.com/isthmus-cni/isthmus/internal/lab/guest"
)

// labCommand returns c as a command that works on the existing lab.
func labCommand(dir *string, c *cobra.Command, do func(c *cobra.Command, l *lab.Lab, args []string) error) *cobra.Command {
	c.RunE = func(c *cobra.Command, args []string) error {
		o, err := lab.Load(*dir)
		if err != nil {
			return err
		}
		return do(c, lab.New(o, os.Stdout), args)
	}
	return c
}

func status(dir *string) *cobra.Command {
	return labCommand(dir, &cobra.Command{Use: "status", Short: "Tell what runs", Args: cobra.NoArgs},
		func(_ *cobra.Command, l *lab.Lab, _ []string) error { return l.Status() })
}

func execute(dir *string) *cobra.Command {
	c := &cobra.Command{
		Use: "exec NODE|VM -- COMMAND...", Short: "Run a command on a node or in a virtual machine", Args: cobra.MinimumNArgs(2),
	}
	interactive := c.Flags().BoolP("stdin", "i", false, "in a virtual machine: read our standard input to its end first")
	return labCommand(dir, c, func(c *cobra.Command, l *lab.Lab, args []string) error {
		if *interactive {
			return l.Exec(c.Context(), args[0], args[1:], os.Stdin)
		}
		return l.Exec(c.Context(), args[0], args[1:], nil)
	})
}

func vm(dir *string) *cobra.Command {
	c := &cobra.Command{Use: "vm", Short: "Virtual machines on Neutron's networks"}
	c.AddCommand(
		vmCreate(dir),
		vmCommand(dir, "delete", "Take a machine away, with its port", lab.Machines.Delete),
		vmCommand(dir, "poweroff", "End a machine, which keeps its port and its disk", lab.Machines.PowerOff),
		vmCommand(dir, "start", "Start a machine that was powered off, and wait until it has its address", lab.Machines.Start),
		vmMigrate(dir),
		vmCommand(dir, "reboot", "Power a machine off, and start it", lab.Machines.Reboot),
		labCommand(dir, &cobra.Command{Use: "list", Short: "Print the machines", Args: cobra.NoArgs},
			func(_ *cobra.Command, l *lab.Lab, _ []string) error { return l.Machines().List() }),
	)
	return c
}

// vmCommand returns a command that works on one virtual machine.
func vmCommand(dir *string, verb, short string, do func(lab.Machines, context.Context, string) error) *cobra.Command {
	return labCommand(dir, &cobra.Command{Use: verb + " NAME", Short: short, Args: cobra.ExactArgs(1)},
		func(c *cobra.Command, l *lab.Lab, args []string) error { return do(l.Machines(), c.Context(), args[0]) })
}

func vmMigrate(dir *string) *cobra.Command {
	c := &cobra.Command{Use: "migrate NAME --node NODE", Short: "Move a machine to another node while it runs", Args: cobra.ExactArgs(1)}
	node := c.Flags().String("node", "", "the node that it is to run on")
	_ = c.MarkFlagRequired("node") // the flag exists
	return labCommand(dir, c, func(c *cobra.Command, l *lab.Lab, args []string) error {
		return l.Machines().Migrate(c.Context(), args[0], *node)
	})
}

func vmCreate(dir *string) *cobra.Command {
	c := &cobra.Command{Use: "create NAME", Short: "Start a machine, and wait until it has its address", Args: cobra.ExactArgs(1)}
	var spec guest.Spec
	f := c.Flags()
	f.StringVar(&spec.Network, "network", "", "Neutron's name of its network; the profile's own if empty")
	f.StringVar(&spec.Node, "node", "node1", "the node that it runs on")
	f.TextVar(&spec.FixedIP, "ip", netip.Addr{}, "its address; Neutron chooses one otherwise")
	f.IntVar(&spec.Memory, "memory", 0, "MiB, 128 if 0")
	f.StringSliceVar(&spec.Modules, "module", nil, "kernel modules that it loads besides the usual ones")
	return labCommand(dir, c, func(c *cobra.Command, l *lab.Lab, args []string) error {
		spec.Name = args[0]
		return l.Machines().Create(c.Context(), spec)
	})
}

func load(dir *string) *cobra.Command {
	return labCommand(dir, &cobra.Command{
		Use: "load IMAGE.tar...", Short: "Put images into every node, under their own names", Args: cobra.MinimumNArgs(1),
	}, func(c *cobra.Command, l *lab.Lab, args []string) error {
		for _, file := range args {
			if err := l.Load(c.Context(), file); err != nil {
				return err
			}
		}
		return nil
	})
}

func logs(dir *string) *cobra.Command {
	c := &cobra.Command{Use: "logs COMPONENT", Short: "Print what a component wrote", Args: cobra.ExactArgs(1)}
	follow := c.Flags().BoolP("follow", "f", false, "go on as it writes")
	lines := c.Flags().IntP("tail", "n", -1, "only the last lines")
	return labCommand(dir, c, func(c *cobra.Command, l *lab.Lab, args []string) error {
		file, err := l.Log(args[0])
		if err != nil {
			return err
		}
		cmd := exec.CommandContext(c.Context(), "tail", tailArgs(*follow, *lines, file)...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		return cmd.Run()
	})
}

func stop(dir *string) *cobra.Command {
	return labCommand(dir, &cobra.Command{Use: "stop COMPONENT", Short: "End a component until start or up", Args: cobra.ExactArgs(1)},
		func(c *cobra.Command, l *lab.Lab, args []string) error { return l.Stop(c.Context(), args[0]) })
}

func start(dir *string) *cobra.Command {
	return labCommand(dir, &cobra.Command{Use: "start COMPONENT", Short: "Start a component, or do a step again", Args: cobra.ExactArgs(1)},
		func(c *cobra.Command, l *lab.Lab, args []string) error { return l.Start(c.Context(), args[0]) })
}

func kill(dir *string) *cobra.Command {
	return labCommand(dir, &cobra.Command{Use: "kill COMPONENT", Short: "kill -9 a component, to see what happens", Args: cobra.ExactArgs(1)},
		func(c *cobra.Command, l *lab.Lab, args []string) error { return l.Kill(c.Context(), args[0]) })
}

func tailArgs(follow bool, lines int, file string) []string {
	args := []string{"-n", "+1"}
	if lines >= 0 {
		args = []string{"-n", strconv.Itoa(lines)}
	}
	if follow {
		args = append(args, "-F")
	}
	return append(args, file)
}
