package ko

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/isthmus-cni/isthmus/internal/poolwire"
	"github.com/isthmus-cni/isthmus/internal/settings"
)

// poolFlags say which pools are meant.
type poolFlags struct {
	node, subnet string
	n            int
	all          bool
}

// args are the flags for the controller.
func (f poolFlags) args() []string {
	var out []string
	if f.node != "" {
		out = append(out, poolwire.ArgNode+"="+f.node)
	}
	if f.subnet != "" {
		out = append(out, poolwire.ArgSubnet+"="+f.subnet)
	}
	if f.n != 0 {
		out = append(out, poolwire.ArgCount+"="+strconv.Itoa(f.n))
	}
	if f.all {
		out = append(out, poolwire.ArgAll+"=true")
	}
	return out
}

func (t *tool) pool() *cobra.Command {
	c := &cobra.Command{
		Use:   "pool",
		Short: "Look into the pools of ready ports, fill them and free them",
		Long: `Ports of Neutron's are made before pods ask for them: a pool for each node,
Subnet and set of security groups. The leading controller keeps them; it is asked
by kubectl exec, so you need the right to that in namespace ` + settings.Namespace + `. One that
runs outside the cluster is asked on its machine, at its --pool-socket.`,
		Args: cobra.NoArgs,
	}
	c.PersistentFlags().StringVar(&t.socket, "pool-socket", t.getenv(poolwire.SocketEnv),
		"where a controller listens that runs on this machine, outside the cluster; or $"+poolwire.SocketEnv)
	c.AddCommand(t.poolList(), t.poolShow(), t.poolFill(), t.poolFree())
	return c
}

func (t *tool) poolList() *cobra.Command {
	var f poolFlags
	c := &cobra.Command{Use: "list", Short: "List the pools", Args: cobra.NoArgs}
	c.RunE = func(c *cobra.Command, _ []string) error {
		var pools []poolwire.Pool
		if err := t.askLeader(c.Context(), &pools, poolwire.List, f.args()...); err != nil {
			return err
		}
		return t.table("NODE\tSUBNET\tGROUPS\tREADY\tRETURNING\tMAKING", len(pools), func(i int) []any {
			p := pools[i]
			return append(names(p), p.Ready, p.Returning, p.Making)
		})
	}
	return f.which(c)
}

func (t *tool) poolShow() *cobra.Command {
	var f poolFlags
	c := &cobra.Command{Use: "show", Short: "List the ports of pools, those first that are handed out first", Args: cobra.NoArgs}
	c.RunE = func(c *cobra.Command, _ []string) error {
		var pools []poolwire.Pool
		if err := t.askLeader(c.Context(), &pools, poolwire.List, append(f.args(), poolwire.ArgPorts+"=true")...); err != nil {
			return err
		}
		var rows [][]any
		for _, p := range pools {
			for _, port := range p.Ports {
				var addrs []string
				for _, a := range port.Addrs {
					addrs = append(addrs, a.String())
				}
				rows = append(rows, append(names(p), port.ID, strings.Join(addrs, ","), port.State))
			}
		}
		return t.table("NODE\tSUBNET\tGROUPS\tPORT\tADDRESSES\tSTATE", len(rows), func(i int) []any { return rows[i] })
	}
	return f.which(c)
}

func (t *tool) poolFill() *cobra.Command {
	var f poolFlags
	c := &cobra.Command{
		Use: "fill --node NAME", Short: "Make more ports for each pool of a node, before many pods come there", Args: cobra.NoArgs,
		Long: `Makes ports for each pool of a node, up to the most that it may have. A node
that has no pool yet gets the one of pods that ask for nothing. The ports stay
until pods take them.`,
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		var made []poolwire.Made
		if err := t.askLeader(c.Context(), &made, poolwire.Fill, f.args()...); err != nil {
			return err
		}
		var problems []error
		err := t.table("NODE\tSUBNET\tGROUPS\tMADE", len(made), func(i int) []any {
			if made[i].Problem != "" {
				problems = append(problems, errors.New(made[i].Problem))
			}
			return append(names(made[i].Pool), made[i].Made)
		})
		return errors.Join(append(problems, err)...)
	}
	c.Flags().IntVarP(&f.n, "n", "n", 0, "how many; as many as the settings' neutron.pool.batch if not given")
	f.which(c)
	_ = c.MarkFlagRequired("node") // the flag exists: nothing to fail
	return c
}

func (t *tool) poolFree() *cobra.Command {
	var f poolFlags
	c := &cobra.Command{
		Use: "free {--node NAME | --subnet NAME | --all}", Short: "Delete the ready ports of pools", Args: cobra.NoArgs,
		Long: `Deletes the ports of pools that no pod has. A pool comes back when a pod asks
for such ports.`,
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		var freed poolwire.Freed
		if err := t.askLeader(c.Context(), &freed, poolwire.Free, f.args()...); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(t.Out, "Ports that are in no pool any more: %d.\n", freed.Ports); err != nil {
			return err
		}
		if freed.Problem != "" {
			return fmt.Errorf("not all of them are deleted yet, the controller goes on: %s", freed.Problem)
		}
		return nil
	}
	c.Flags().BoolVar(&f.all, "all", false, "of all pools")
	f.which(c)
	c.MarkFlagsOneRequired("node", "subnet", "all")
	c.MarkFlagsMutuallyExclusive("node", "all")
	c.MarkFlagsMutuallyExclusive("subnet", "all")
	return c
}

// which gives a command the flags that say which pools are meant.
func (f *poolFlags) which(c *cobra.Command) *cobra.Command {
	c.Flags().StringVar(&f.node, "node", "", "only pools of this node")
	c.Flags().StringVar(&f.subnet, "subnet", "", "only pools of this Subnet, by its name or the id of its network")
	return c
}

// names are a pool's for people.
func names(p poolwire.Pool) []any { return []any{p.Node, p.Subnet, strings.Join(p.Groups, ",")} }

func (t *tool) table(head string, n int, row func(i int) []any) error {
	w := tabwriter.NewWriter(t.Out, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(w, head) // Flush says what fails
	for i := range n {
		cells := row(i)
		_, _ = fmt.Fprintf(w, strings.TrimSuffix(strings.Repeat("%v\t", len(cells)), "\t")+"\n", cells...)
	}
	return w.Flush()
}

// askLeader asks the leading controller and reads what it answers.
func (t *tool) askLeader(ctx context.Context, into any, verb string, args ...string) error {
	var out bytes.Buffer
	who, err := t.askPools(ctx, append([]string{verb}, args...), &out)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out.Bytes(), into); err != nil {
		return fmt.Errorf("%s answers %q: is it of another version?", who, out.String())
	}
	return nil
}

// askPools asks the controller on this machine if there is said to be one, and
// otherwise runs the program "pool" beside the leading one. It tells who was asked.
func (t *tool) askPools(ctx context.Context, args []string, out *bytes.Buffer) (string, error) {
	if t.socket != "" {
		return "the controller at " + t.socket, poolwire.Ask(ctx, t.socket, args, out)
	}
	kubectl, err := t.look("kubectl")
	if err != nil {
		return "", fmt.Errorf("kubectl is needed, to run a program in the controller's pod: %w", err)
	}
	client, err := t.connect()
	if err != nil {
		return "", err
	}
	pod, err := leader(ctx, client)
	if err != nil {
		return "", err
	}
	argv := append([]string{kubectl}, t.kubectlFlags()...)
	argv = append(argv, "--namespace", pod.Namespace, "exec", pod.Name, "--container", pod.Spec.Containers[0].Name, "--", program, "pool")
	return "pod " + pod.Namespace + "/" + pod.Name, t.run(ctx, Streams{In: strings.NewReader(""), Out: out, Err: t.Err}, append(argv, args...))
}

// program is the controller in its image.
const program = "/isthmus-controller"

// kubectlFlags are those of the user's that say which cluster is meant.
func (t *tool) kubectlFlags() []string {
	var out []string
	if t.rules.ExplicitPath != "" {
		out = append(out, "--kubeconfig", t.rules.ExplicitPath)
	}
	if t.overrides.CurrentContext != "" {
		out = append(out, "--context", t.overrides.CurrentContext)
	}
	return out
}
