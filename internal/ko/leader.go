package ko

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/isthmus-cni/isthmus/internal/settings"
)

// askTimeout is the time limit for the API server's answers.
const askTimeout = 10 * time.Second

// noLeader returns an error while a controller of the cluster runs. If no API server
// answers, it prints that this is unknown and returns nil, because the cluster may be
// gone.
func (t *tool) noLeader(ctx context.Context, cluster string) error {
	unknown := func(err error) error {
		_, err = fmt.Fprintf(t.Err, "It is unknown whether a controller of cluster %s still runs, because the cluster cannot be reached: %v\n", cluster, err)
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
		return nil // the lease belongs to another cluster
	}
	return errors.Join(controllerGone(ctx, client), leaseFree(lease))
}

// unreachable reports whether err is not an answer of an API server.
func unreachable(err error) bool {
	var answer apierrors.APIStatus
	return err != nil && !errors.As(err, &answer)
}

// leaseFree returns an error while the lease is held.
func leaseFree(l *coordinationv1.Lease) error {
	if l.Spec.HolderIdentity == nil || *l.Spec.HolderIdentity == "" || l.Spec.RenewTime == nil || l.Spec.LeaseDurationSeconds == nil {
		return nil
	}
	end := l.Spec.RenewTime.Add(time.Duration(*l.Spec.LeaseDurationSeconds) * time.Second)
	if time.Now().After(end) { //nolint:forbidigo // the shell has the clock
		return nil
	}
	return fmt.Errorf("controller %s still holds Lease %s and would put everything back: stop it, or say --force", *l.Spec.HolderIdentity, qualified(controllers))
}

// leader returns the pod of the controller that holds the lease, or an error if no
// controller does.
func leader(ctx context.Context, client kubernetes.Interface) (*corev1.Pod, error) {
	lease, err := client.CoordinationV1().Leases(settings.Namespace).Get(ctx, controllers, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("which controller leads: %w", err)
	}
	deployment, err := client.AppsV1().Deployments(settings.Namespace).Get(ctx, controllers, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("find the controllers: %w", err)
	}
	selector, err := metav1.LabelSelectorAsSelector(deployment.Spec.Selector)
	if err != nil {
		return nil, err
	}
	all, err := client.CoreV1().Pods(settings.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return nil, fmt.Errorf("list the controllers: %w", err)
	}
	holder := ""
	if lease.Spec.HolderIdentity != nil {
		holder = *lease.Spec.HolderIdentity
	}
	return holding(holder, all.Items)
}

// holding returns the pod of the lease's holder, "HOST_UID". The controller uses the
// host's network, so HOST is the machine's name, usually the node's. If only one
// controller runs, holding returns its pod.
func holding(holder string, pods []corev1.Pod) (*corev1.Pod, error) {
	pods = slices.DeleteFunc(pods, func(p corev1.Pod) bool { return p.Status.Phase != corev1.PodRunning || len(p.Spec.Containers) == 0 })
	if holder == "" || len(pods) == 0 {
		return nil, fmt.Errorf("no controller leads: kubectl -n %s get pods -l app=%s shows why", settings.Namespace, controllers)
	}
	if len(pods) == 1 {
		return &pods[0], nil
	}
	host, _, _ := strings.Cut(holder, "_")
	for i, p := range pods {
		if host == p.Spec.NodeName || host == p.Name || strings.HasPrefix(host, p.Spec.NodeName+".") || strings.HasPrefix(p.Spec.NodeName, host+".") {
			return &pods[i], nil
		}
	}
	return nil, fmt.Errorf("controller %s leads, and none of the %d that run is on a node of that name", holder, len(pods))
}
