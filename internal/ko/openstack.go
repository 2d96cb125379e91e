package ko

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-cni/isthmus/internal/neutron"
	"github.com/isthmus-cni/isthmus/internal/octavia"
)

type cloudCleanup struct {
	cluster             string
	cloud               cloudName
	dryRun, yes, forced bool
}

func (t *tool) neutronCleanup() *cobra.Command {
	var o cloudCleanup
	c := &cobra.Command{
		Use:   "cleanup --cluster NAME",
		Short: "Delete everything that a cluster owns in OpenStack: the last step of an uninstallation",
		Long: `Deletes the load balancers, floating IPs, ports, router interfaces, subnets,
networks and security groups that bear the cluster's mark, tag isthmus-owner=NAME
or the description that begins so, in every project that the user sees. Nothing
else is touched: a network that somebody else has a port on stays, and is named.
Delete the controller first: it would put all back. What could not be deleted
now can be later: run it again.

Who you are to OpenStack is said by the flags, else by OS_CLOUD and
OS_CLIENT_CONFIG_FILE as for the openstack command, else by the cluster's own
Secret ` + where(cloudsSecret) + `.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return t.cleanCloud(c.Context(), o) },
	}
	c.Flags().StringVar(&o.cluster, "cluster", "", "whose objects: the settings' \"cluster\"")
	c.Flags().StringVar(&o.cloud.name, "cloud", "", "the name in clouds.yaml")
	c.Flags().StringVar(&o.cloud.file, "clouds-file", "", "the path of clouds.yaml")
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "only list what would be deleted")
	c.Flags().BoolVar(&o.yes, "yes", false, "do not ask")
	c.Flags().BoolVar(&o.forced, "force", false, "though a controller of the cluster may still run")
	_ = c.MarkFlagRequired("cluster") // the flag exists: nothing to fail
	return c
}

// cloudHolder is a fabric as cleanup sees it.
type cloudHolder interface {
	Owned(ctx context.Context) ([]string, error)
	Clear(ctx context.Context) (int, error)
}

func (t *tool) cleanCloud(ctx context.Context, o cloudCleanup) error {
	if !o.dryRun && !o.forced {
		if err := t.nobodyLeads(ctx, o.cluster); err != nil {
			return err
		}
	}
	name, file, done, err := t.cloudOf(ctx, o.cloud)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	removed := func(what string) { _, _ = fmt.Fprintf(t.Out, "deleted %s\n", what) }
	network := neutron.New(ctx, neutron.Options{Owner: o.cluster, Cloud: name, CloudsFile: file, Removed: removed})
	defer network.Close()
	// Load balancers first: their ports are on the networks.
	holders := []cloudHolder{
		octavia.New(octavia.Options{Owner: o.cluster, Cloud: name, CloudsFile: file, Removed: removed, ApplyTimeout: balancerPatience}),
		network,
	}
	something, err := t.confirmCloud(ctx, o, holders)
	if err != nil || !something || o.dryRun {
		return err
	}
	var errs []error
	for _, h := range holders {
		errs = append(errs, t.drain(ctx, h))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("not all of cluster %s could be deleted; run this again when that is solved:\n%w", o.cluster, err)
	}
	_, err = fmt.Fprintf(t.Out, "Nothing in OpenStack belongs to cluster %s any more.\n", o.cluster)
	return err
}

// balancerPatience is how long Octavia may take for one load balancer.
const balancerPatience = time.Minute

// confirmCloud says what will go and asks; false if there is nothing.
func (t *tool) confirmCloud(ctx context.Context, o cloudCleanup, holders []cloudHolder) (bool, error) {
	var all []string
	for _, h := range holders {
		some, err := h.Owned(ctx)
		if err != nil {
			return false, fmt.Errorf("look for what cluster %s owns: %w", o.cluster, err)
		}
		all = append(all, some...)
	}
	if len(all) == 0 {
		_, err := fmt.Fprintf(t.Out, "Nothing in OpenStack belongs to cluster %s.\n", o.cluster)
		return false, err
	}
	_, _ = fmt.Fprintf(t.Out, "Cluster %s owns in OpenStack:\n", o.cluster)
	for _, what := range all {
		_, _ = fmt.Fprintf(t.Out, "  %s\n", what)
	}
	if o.dryRun || o.yes {
		return true, nil
	}
	_, _ = fmt.Fprintf(t.Out, "Pods that still run lose their network. Type %q to delete all of it: ", o.cluster)
	answer, _ := bufio.NewReader(t.In).ReadString('\n') // no answer is a no
	if strings.TrimSpace(answer) != o.cluster {
		return false, errors.New("nothing was deleted")
	}
	return true, nil
}

// drain has a holder cleared until it has nothing, or nothing has moved for as
// often as there are pauses.
func (t *tool) drain(ctx context.Context, h cloudHolder) error {
	for idle := 0; ; idle++ {
		n, err := h.Clear(ctx)
		if n > 0 {
			idle = 0
		}
		if err == nil || ctx.Err() != nil || idle >= len(t.pauses) {
			return err
		}
		timer := time.NewTimer(t.pauses[idle])
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// pauses are how long OpenStack is given to come round, each time nothing moved.
func pauses() []time.Duration {
	return []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second}
}
