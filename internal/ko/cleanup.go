package ko

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn"
	"github.com/isthmus-cni/isthmus/internal/settings"
)

// controllers is the name of the controller's Deployment, which would restore what the
// cleanup deletes.
const controllers = "isthmus-controller"

type cleanup struct {
	cluster     string
	northbounds []string
	yes         bool
}

func (t *tool) cleanup() *cobra.Command {
	var o cleanup
	c := &cobra.Command{
		Use:   "cleanup --cluster NAME",
		Short: "Delete everything that a cluster owns in OVN, and release its Subnets and Vpcs",
		Long: `Deletes the rows of OVN's northbound database that have the cluster's mark,
external_ids:isthmus-owner=NAME, and the references to them in other rows. It
changes no other row. Then it removes our finalizer from the objects of our own
kinds in this cluster, so that they can be deleted without the controller.
Delete the controller first: it would put everything back.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return t.clean(c.Context(), o) },
	}
	c.Flags().StringVar(&o.cluster, "cluster", "", "whose rows: the settings' \"cluster\"")
	c.Flags().StringSliceVar(&o.northbounds, "nb", nil, "OVN's northbound database, tcp:ADDRESS:6641, if the settings are gone already")
	c.Flags().BoolVar(&o.yes, "yes", false, "do not ask")
	_ = c.MarkFlagRequired("cluster") // the flag exists: nothing to fail
	return c
}

func (t *tool) clean(ctx context.Context, o cleanup) error {
	target, err := t.cleanable(ctx, o)
	if err != nil {
		return err
	}
	t.In = bufio.NewReader(t.In) // so that the first question does not read the second's answer
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := t.cleanDatabase(ctx, o, target.northbounds); err != nil || !target.here {
		return err
	}
	if target.noSettings && !o.yes {
		if err := t.confirmRelease(o); err != nil {
			return err
		}
	}
	return t.releaseObjects(ctx)
}

// cleanDatabase deletes what the cluster owns in OVN's northbound database.
func (t *tool) cleanDatabase(ctx context.Context, o cleanup, addresses []string) error {
	f, err := ovn.Dial(ctx, ovn.Options{Owner: o.cluster, Addresses: addresses, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("connect to OVN's northbound database at %s: %w", strings.Join(addresses, ","), err)
	}
	defer f.Close()
	units, err := f.Units(ctx)
	if err != nil {
		return err
	}
	if len(units) == 0 {
		_, err := fmt.Fprintf(t.Out, "Nothing in OVN belongs to cluster %s.\n", o.cluster)
		return err
	}
	if err := t.confirm(o, units); err != nil {
		return err
	}
	n, err := f.Clear(ctx)
	if err != nil {
		return fmt.Errorf("delete what cluster %s owns: %w", o.cluster, err)
	}
	_, err = fmt.Fprintf(t.Out, "Deleted %d rows of cluster %s.\n", n, o.cluster)
	return err
}

// cleanupTarget says what to clean up.
type cleanupTarget struct {
	northbounds []string
	// here is true if the cluster to clean up is the one that kubectl reaches. That may
	// be another cluster, or the cluster may be gone.
	here bool
	// noSettings is true if here is a guess, because the cluster that kubectl reaches has
	// no settings with its name.
	noSettings bool
}

// cleanable returns what to clean up. It returns an error while the cluster's controller
// would undo the cleanup.
func (t *tool) cleanable(ctx context.Context, o cleanup) (cleanupTarget, error) {
	target := cleanupTarget{northbounds: o.northbounds}
	client, err := t.connect()
	if err != nil {
		if len(o.northbounds) > 0 {
			return target, nil
		}
		return target, err
	}
	s, err := readSettings(ctx, client)
	if err != nil && len(o.northbounds) == 0 {
		return target, fmt.Errorf("%w; or say where the database is: --nb", err)
	}
	// Without settings, an earlier step of the uninstallation has already deleted them.
	target.noSettings = errors.Is(err, errNoSettings)
	target.here = err == nil && s.Cluster == o.cluster || target.noSettings
	if target.here {
		if err := controllerGone(ctx, client); err != nil {
			return target, err
		}
	}
	if len(o.northbounds) == 0 {
		target.northbounds = s.NBAddresses
	}
	return target, nil
}

// controllerGone returns an error while the controller's Deployment has replicas.
func controllerGone(ctx context.Context, client kubernetes.Interface) error {
	d, err := client.AppsV1().Deployments(settings.Namespace).Get(ctx, controllers, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for the controller: %w", err)
	}
	if d.Status.Replicas == 0 && d.Spec.Replicas != nil && *d.Spec.Replicas == 0 {
		return nil
	}
	return fmt.Errorf("the controller still runs and would put everything back: kubectl -n %s delete deployment %s", settings.Namespace, controllers)
}

// confirm lists what will be deleted, and asks. It returns an error if the answer is not
// the cluster's name.
func (t *tool) confirm(o cleanup, units []intent.Unit) error {
	slices.Sort(units)
	_, _ = fmt.Fprintf(t.Out, "Cluster %s owns in OVN:\n", o.cluster)
	for _, u := range units {
		_, _ = fmt.Fprintf(t.Out, "  %s\n", u)
	}
	if o.yes {
		return nil
	}
	_, _ = fmt.Fprintf(t.Out, "Pods that still run lose their network. Type %q to delete all of it: ", o.cluster)
	if !t.answers(o.cluster) {
		return errors.New("nothing was deleted")
	}
	return nil
}

// confirmRelease asks whether the cluster that kubectl reaches is the one to clean up. It
// returns an error if the answer is not the cluster's name.
func (t *tool) confirmRelease(o cleanup) error {
	_, _ = fmt.Fprintf(t.Out, "The cluster that kubectl reaches has no settings of Isthmus. Type %q if it is that cluster, to release its Subnets and Vpcs: ", o.cluster)
	if !t.answers(o.cluster) {
		return errors.New("no Subnet and no Vpc was released")
	}
	return nil
}

// answers reports whether the next line of input is expected. At the end of input it is
// not.
func (t *tool) answers(expected string) bool {
	answer, _ := bufio.NewReader(t.In).ReadString('\n')
	return strings.TrimSpace(answer) == expected
}
