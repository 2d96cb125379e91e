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

// database is one of OVN's, with the program that talks to it.
type database struct {
	command, program, holds, key string
	addresses                    func(settings.Settings) []string
	// waits is true if the program has --wait.
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

Your own %[1]s is used if you have one. If not, and OVN is installed on the
nodes, one is run for you in a short-lived pod on a node.`, d.program, settings.Namespace, settings.ConfigMap, d.command),
		DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 && (args[0] == "-h" || args[0] == "--help") {
				return c.Help()
			}
			return t.ask(c.Context(), d, args)
		},
	}
}

func (t *tool) ask(ctx context.Context, d database, args []string) error {
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
	if path, err := t.look(d.program); err == nil {
		argv[0] = path
		return t.run(ctx, t.Streams, argv)
	}
	return t.askOnNode(ctx, client, argv)
}

// refuse says no to --wait, however it is abbreviated and wherever it stands:
// it makes ovn-nbctl write NB_Global.nb_cfg, a row that Neutron and OVN use to
// tell whether the chassis live, and that we promise never to write.
func (d database) refuse(args []string, environment string) error {
	if !d.waits {
		return nil
	}
	for _, a := range append(strings.Fields(environment), args...) {
		name, value, _ := strings.Cut(a, "=")
		if len(name) > 2 && strings.HasPrefix("--wait", name) && value != "none" {
			return errors.New("--wait is refused: it writes nb_cfg in NB_Global, which Neutron counts by to tell whether its agents live. " +
				"The change is made without it; to see it arrive, look with kubectl ko sbctl")
		}
	}
	return nil
}

func lookPath(name string) (string, error) { return exec.LookPath(name) }

// runHere runs a program on the user's machine; what it says goes to the user.
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
