package ko

import (
	"context"
	"errors"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/isthmus-cni/isthmus/internal/settings"
)

// askTimeout is how long a cluster may take to say that it is there.
const askTimeout = 10 * time.Second

// nobodyLeads fails while a controller of that cluster runs, as far as that can
// be known: the cluster itself may be gone.
func (t *tool) nobodyLeads(ctx context.Context, cluster string) error {
	unknown := func(err error) error {
		_, err = fmt.Fprintf(t.Err, "Whether a controller of cluster %s still runs is not known, for no cluster can be reached: %v\n", cluster, err)
		return err
	}
	client, err := t.connect()
	if err != nil {
		return unknown(err)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	lease, err := client.CoordinationV1().Leases(settings.Namespace).Get(ctx, controllers, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		lease = &coordinationv1.Lease{}
	case unreachable(err):
		return unknown(err)
	case err != nil:
		return fmt.Errorf("look for a controller: %w; if there is none: --force", err)
	}
	if s, err := readSettings(ctx, client); err == nil && s.Cluster != cluster {
		return nil // it is another cluster's
	}
	return errors.Join(unguarded(ctx, client), free(lease))
}

// unreachable tells whether no API server said that.
func unreachable(err error) bool {
	var answer apierrors.APIStatus
	return err != nil && !errors.As(err, &answer)
}

// free fails while somebody holds the lease.
func free(l *coordinationv1.Lease) error {
	if l.Spec.HolderIdentity == nil || *l.Spec.HolderIdentity == "" || l.Spec.RenewTime == nil || l.Spec.LeaseDurationSeconds == nil {
		return nil
	}
	end := l.Spec.RenewTime.Add(time.Duration(*l.Spec.LeaseDurationSeconds) * time.Second)
	if time.Now().After(end) { //nolint:forbidigo // the shell has the clock
		return nil
	}
	return fmt.Errorf("controller %s still holds Lease %s and would put everything back: stop it, or say --force", *l.Spec.HolderIdentity, where(controllers))
}
