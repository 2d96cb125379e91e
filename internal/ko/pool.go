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

// poolFlags are the flags that select pools.
type poolFlags struct {
	node, subnet string
	n            int
	all          bool
}

// args returns the flags as arguments for the controller.
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

// poolCommands are the commands "kubectl ko pool ...".
type poolCommands struct{ *tool }

func (t *tool) pool() *cobra.Command {
	c := &cobra.Command{
		Use:   "pool",
		Short: "Show, fill and empty the pools of ready ports",
		Long: `The controller creates Neutron ports before pods ask for them. There is a pool for
each node, Subnet and set of security groups. The commands ask the leading
controller by kubectl exec, so you need the permission for that in namespace
` + settings.Namespace + `. If the controller runs outside the cluster, run them on its machine
with --pool-socket.`,
		Args: cobra.NoArgs,
	}
	c.PersistentFlags().StringVar(&t.socket, "pool-socket", t.getenv(poolwire.SocketEnv),
		"the socket of a controller that runs on this machine, outside the cluster; default is $"+poolwire.SocketEnv)
	p := poolCommands{t}
	c.AddCommand(p.list(), p.show(), p.fill(), p.free())
	return c
}

func (t poolCommands) list() *cobra.Command {
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
	return f.addTo(c)
}

func (t poolCommands) show() *cobra.Command {
	var f poolFlags
	c := &cobra.Command{Use: "show", Short: "List the ports of pools in the order in which pods get them", Args: cobra.NoArgs}
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
	return f.addTo(c)
}

func (t poolCommands) fill() *cobra.Command {
	var f poolFlags
	c := &cobra.Command{
		Use: "fill --node NAME", Short: "Create more ports for each pool of a node, before many pods start there", Args: cobra.NoArgs,
		Long: `Creates ports for each pool of a node, at most up to the pool's limit. A node
without a pool gets the pool for pods that select no Subnet and no groups. The
ports stay until pods take them.`,
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
	c.Flags().IntVarP(&f.n, "n", "n", 0, "number of ports for each pool; default is neutron.pool.batch of the settings")
	f.addTo(c)
	_ = c.MarkFlagRequired("node") // the flag exists: nothing to fail
	return c
}

func (t poolCommands) free() *cobra.Command {
	var f poolFlags
	c := &cobra.Command{
		Use: "free {--node NAME | --subnet NAME | --all}", Short: "Delete the ready ports of pools", Args: cobra.NoArgs,
		Long: `Deletes the ports that are in pools. The controller creates the pool again when a
pod asks for such a port.`,
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
			return fmt.Errorf("not all of them are deleted yet; the controller continues: %s", freed.Problem)
		}
		return nil
	}
	c.Flags().BoolVar(&f.all, "all", false, "all pools")
	f.addTo(c)
	c.MarkFlagsOneRequired("node", "subnet", "all")
	c.MarkFlagsMutuallyExclusive("node", "all")
	c.MarkFlagsMutuallyExclusive("subnet", "all")
	return c
}

// addTo adds the flags that select pools to a command, and returns it.
func (f *poolFlags) addTo(c *cobra.Command) *cobra.Command {
	c.Flags().StringVar(&f.node, "node", "", "only pools of this node")
	c.Flags().StringVar(&f.subnet, "subnet", "", "only pools of this Subnet, by its name or the id of its network")
	return c
}

// names returns the cells that name a pool in a table.
func names(p poolwire.Pool) []any { return []any{p.Node, p.Subnet, strings.Join(p.Groups, ",")} }

// table prints n rows below head, in which tabs separate the columns.
func (t poolCommands) table(head string, n int, row func(i int) []any) error {
	w := tabwriter.NewWriter(t.Out, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(w, head) // Flush returns the error
	for i := range n {
		cells := row(i)
		_, _ = fmt.Fprintf(w, strings.TrimSuffix(strings.Repeat("%v\t", len(cells)), "\t")+"\n", cells...)
	}
	return w.Flush()
}

// askLeader sends a request to the leading controller and decodes its answer into into, a
// pointer.
func (t poolCommands) askLeader(ctx context.Context, into any, verb string, args ...string) error {
	var out bytes.Buffer
	who, err := t.askPools(ctx, append([]string{verb}, args...), &out)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out.Bytes(), into); err != nil {
		return fmt.Errorf("%s answers %q: does it have another version?", who, out.String())
	}
	return nil
}

// askPools sends the request to the controller at the socket if there is one. Otherwise
// it runs "pool" in the pod of the leading controller. It returns a description of the
// controller that it asked.
func (t poolCommands) askPools(ctx context.Context, args []string, out *bytes.Buffer) (string, error) {
	if t.socket != "" {
		return "the controller at " + t.socket, poolwire.Ask(ctx, t.socket, args, out)
	}
	kubectl, err := t.findProgram("kubectl")
	if err != nil {
		return "", fmt.Errorf("kubectl is needed to run a program in the controller's pod: %w", err)
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

// program is the path of the controller in its image.
const program = "/isthmus-controller"

// kubectlFlags returns the user's flags that select the cluster.
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
