package ko

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-cni/isthmus/internal/settings"
)

// database is one of OVN's databases, with its command-line program.
type database struct {
	command, program, holds, key string
	addresses                    func(settings.Settings) []string
	// waits is true if the program has the option --wait.
	waits bool
}

var (
	northbound = database{
		command: "nbctl", program: "ovn-nbctl", holds: "northbound database: what the network should be", key: "nbAddresses",
		addresses: func(s settings.Settings) []string { return s.NBAddresses }, waits: true,
	}
	southbound = database{
		command: "sbctl", program: "ovn-sbctl", holds: "southbound database: what the network is", key: "sbAddresses",
		addresses: func(s settings.Settings) []string { return s.SBAddresses },
	}
)

func (t *tool) database(d database) *cobra.Command {
	return &cobra.Command{
		Use:   d.command + " [ARGS...]",
		Short: "Run " + d.program + " on OVN's " + d.holds,
		Long: fmt.Sprintf(`Runs %[1]s with the address from ConfigMap %[2]s/%[3]s; everything
after "%[4]s" is passed to it as it is.

It runs the %[1]s on your machine. If there is none, it runs the one on a node, in
a short-lived pod; OVN must be installed there.`, d.program, settings.Namespace, settings.ConfigMap, d.command),
		DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 && (args[0] == "-h" || args[0] == "--help") {
				return c.Help()
			}
			return t.runDatabase(c.Context(), d, args)
		},
	}
}

// runDatabase runs the program on this machine, or on a node if it is not installed here.
func (t *tool) runDatabase(ctx context.Context, d database, args []string) error {
	if err := d.refuse(args, os.Getenv("OVN_NBCTL_OPTIONS")); err != nil {
		return err
	}
	client, s, err := t.cluster(ctx)
	if err != nil {
		return err
	}
	addresses := d.addresses(s)
	if len(addresses) == 0 {
		return fmt.Errorf("the settings have no %s: give it in ConfigMap %s/%s", d.key, settings.Namespace, settings.ConfigMap)
	}
	argv := append([]string{d.program, "--db=" + strings.Join(addresses, ",")}, args...)
	if path, err := t.findProgram(d.program); err == nil {
		argv[0] = path
		return t.run(ctx, t.Streams, argv)
	}
	return t.runOnNode(ctx, client, argv)
}

// refuse returns an error if the arguments or the environment have --wait, also
// abbreviated. With --wait, ovn-nbctl writes nb_cfg in NB_Global. Neutron and OVN use
// that column to check whether the chassis are alive, so Isthmus never writes it.
func (d database) refuse(args []string, environment string) error {
	if !d.waits {
		return nil
	}
	for _, a := range append(strings.Fields(environment), args...) {
		name, value, _ := strings.Cut(a, "=")
		if len(name) > 2 && strings.HasPrefix("--wait", name) && value != "none" {
			return errors.New("--wait is refused: it writes nb_cfg in NB_Global, by which Neutron sees whether its agents are alive. " +
				"Run the command without --wait; kubectl ko sbctl shows when the change has arrived")
		}
	}
	return nil
}

func lookPath(name string) (string, error) { return exec.LookPath(name) }

// runHere runs a program on the user's machine, with the input and output of s. It
// returns Exit if the program ends with a status other than 0.
func runHere(ctx context.Context, s Streams, argv []string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.In, s.Out, s.Err
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return Exit(exit.ExitCode())
	}
	return err
}
