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
	"github.com/isthmus-cni/isthmus/internal/retry"
)

// cloudCleanup is the command "kubectl ko neutron cleanup".
type cloudCleanup struct {
	*tool
	cluster             string
	cloud               cloudName
	dryRun, yes, forced bool
}

func (t *tool) neutronCleanup() *cobra.Command {
	cleanup := cloudCleanup{tool: t}
	c := &cobra.Command{
		Use:   "cleanup --cluster NAME",
		Short: "Delete everything that a cluster owns in OpenStack: the last step of an uninstallation",
		Long: `Deletes the load balancers, floating IPs, ports, router interfaces, subnets,
networks and security groups that have the cluster's mark: tag isthmus-owner=NAME,
or a description that begins with it. It does so in every project that the user
sees, and deletes nothing else. A network that somebody else has a port on stays,
and the command names it. Delete the controller first: it would put everything
back. If something could not be deleted, run the command again later.

The OpenStack user is the one that the flags name. Without them it is that of
OS_CLOUD and OS_CLIENT_CONFIG_FILE, as for the openstack command; without these it
is the cluster's own user, from Secret ` + qualified(cloudsSecret) + `.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return cleanup.run(c.Context()) },
	}
	c.Flags().StringVar(&cleanup.cluster, "cluster", "", "whose objects: the settings' \"cluster\"")
	c.Flags().StringVar(&cleanup.cloud.name, "cloud", "", "the name in clouds.yaml")
	c.Flags().StringVar(&cleanup.cloud.file, "clouds-file", "", "the path of clouds.yaml")
	c.Flags().BoolVar(&cleanup.dryRun, "dry-run", false, "only list what would be deleted")
	c.Flags().BoolVar(&cleanup.yes, "yes", false, "do not ask")
	c.Flags().BoolVar(&cleanup.forced, "force", false, "delete even if a controller of the cluster may still run")
	_ = c.MarkFlagRequired("cluster") // the flag exists: nothing to fail
	return c
}

// cloudFabric has the methods of a fabric in OpenStack that the cleanup needs.
type cloudFabric interface {
	// Owned describes what the cluster owns, for people.
	Owned(ctx context.Context) ([]string, error)
	// Clear deletes what it can, and returns how many units have nothing left. It returns
	// an error if something is left.
	Clear(ctx context.Context) (int, error)
}

func (c cloudCleanup) run(ctx context.Context) error {
	if !c.dryRun && !c.forced {
		if err := c.noLeader(ctx, c.cluster); err != nil {
			return err
		}
	}
	name, file, done, err := c.cloudOf(ctx, c.cloud)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	removed := func(what string) { _, _ = fmt.Fprintf(c.Out, "deleted %s\n", what) }
	network := neutron.New(ctx, neutron.Options{Owner: c.cluster, Cloud: name, CloudsFile: file, Removed: removed})
	defer network.Close()
	// Load balancers come first: their ports are on the networks.
	fabrics := []cloudFabric{
		octavia.New(octavia.Options{Owner: c.cluster, Cloud: name, CloudsFile: file, Removed: removed, ApplyTimeout: balancerTimeout}),
		network,
	}
	confirmed, err := c.confirm(ctx, fabrics)
	if err != nil || !confirmed || c.dryRun {
		return err
	}
	var errs []error
	for _, f := range fabrics {
		errs = append(errs, c.clear(ctx, f))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("not all of cluster %s could be deleted; run this again when that is solved:\n%w", c.cluster, err)
	}
	_, err = fmt.Fprintf(c.Out, "Nothing in OpenStack belongs to cluster %s any more.\n", c.cluster)
	return err
}

// balancerTimeout is the time limit for the deletion of one load balancer.
const balancerTimeout = time.Minute

// confirm lists what will be deleted, and asks. It returns false if there is nothing to
// delete, and an error if the answer is not the cluster's name.
func (c cloudCleanup) confirm(ctx context.Context, fabrics []cloudFabric) (bool, error) {
	var all []string
	for _, f := range fabrics {
		owned, err := f.Owned(ctx)
		if err != nil {
			return false, fmt.Errorf("look for what cluster %s owns: %w", c.cluster, err)
		}
		all = append(all, owned...)
	}
	if len(all) == 0 {
		_, err := fmt.Fprintf(c.Out, "Nothing in OpenStack belongs to cluster %s.\n", c.cluster)
		return false, err
	}
	_, _ = fmt.Fprintf(c.Out, "Cluster %s owns in OpenStack:\n", c.cluster)
	for _, what := range all {
		_, _ = fmt.Fprintf(c.Out, "  %s\n", what)
	}
	if c.dryRun || c.yes {
		return true, nil
	}
	_, _ = fmt.Fprintf(c.Out, "Pods that still run lose their network. Type %q to delete all of it: ", c.cluster)
	answer, _ := bufio.NewReader(c.In).ReadString('\n') // at the end of input, the answer is no
	if strings.TrimSpace(answer) != c.cluster {
		return false, errors.New("nothing was deleted")
	}
	return true, nil
}

// maxIdleAttempts is the number of attempts in a row that may delete nothing. OpenStack
// may need half a minute to release a dependency.
const maxIdleAttempts = 6

// clearPauses returns the pauses between attempts. They grow while nothing is deleted.
func clearPauses() retry.Backoff {
	return retry.Backoff{First: time.Second, Longest: 16 * time.Second}
}

// clear deletes everything of a fabric. It returns the last error if maxIdleAttempts
// attempts in a row deleted nothing.
func (c cloudCleanup) clear(ctx context.Context, f cloudFabric) error {
	for {
		progress, err := c.clearSome(ctx, f)
		if err == nil || !progress || retry.Pause(ctx, c.pauses.First) != nil {
			return err
		}
	}
}

// clearSome tries until something is deleted. It returns an error if something is left.
func (c cloudCleanup) clearSome(ctx context.Context, f cloudFabric) (progress bool, err error) {
	attempts := 0
	_ = c.pauses.Until(ctx, func(ctx context.Context) error { // err has the details
		var n int
		n, err = f.Clear(ctx)
		attempts++
		progress = n > 0
		if progress || attempts >= maxIdleAttempts {
			return nil
		}
		return err
	}, nil)
	return progress, err
}
