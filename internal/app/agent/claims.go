package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/cniwire"
	"github.com/isthmus-cni/isthmus/internal/retry"
)

// apiClaims reads claims from the API server. It has no cache, because few pods of a node
// start at a time and a cluster has many IPs.
type apiClaims struct{ client client.WithWatch }

// claimBackoff has the pauses before a claim is read again after its watch ended.
var claimBackoff = retry.Backoff{First: 50 * time.Millisecond, Longest: 2 * time.Second}

// Await reads the claim once, because it nearly always exists, and watches that one object
// if it does not. If ctx ends first, the error says what is wrong with the claim.
func (a apiClaims) Await(ctx context.Context, name, uid string) (*v1.IP, error) {
	var ip *v1.IP
	var last error
	err := claimBackoff.Until(ctx, func(ctx context.Context) error {
		if ip, last = a.get(ctx, name, uid); last != nil && ctx.Err() == nil {
			ip, last = a.watch(ctx, name, uid, last)
		}
		return last
	}, nil)
	if err == nil {
		return ip, nil
	}
	return nil, &cniwire.Error{
		Code: cniwire.CodeTryAgainLater, Msg: "waiting for claim " + name,
		Details: last.Error() + ": is isthmus-controller running, and does an event of the pod say why it gets no address?",
	}
}

// get reads the claim from the API server's cache, which is fast. An outdated claim there
// has another pod's UID.
func (a apiClaims) get(ctx context.Context, name, uid string) (*v1.IP, error) {
	ip := &v1.IP{}
	err := a.client.Get(ctx, client.ObjectKey{Name: name}, ip, &client.GetOptions{Raw: &metav1.GetOptions{ResourceVersion: "0"}})
	if apierrors.IsNotFound(err) {
		return nil, errors.New("the IP object does not exist")
	}
	if err != nil {
		return nil, fmt.Errorf("ask the API server: %w", err)
	}
	return checkClaim(ip, uid)
}

// checkClaim returns ip, or an error unless ip is the claim of the pod with that UID.
func checkClaim(ip *v1.IP, uid string) (*v1.IP, error) {
	if ip.Spec.PodUID != uid {
		return nil, fmt.Errorf("the IP object is for the pod with UID %s, not %s", ip.Spec.PodUID, uid)
	}
	if !ip.DeletionTimestamp.IsZero() {
		return nil, errors.New("the IP object is being deleted")
	}
	return ip, nil
}

// watch begins with the object's present state, so that it sees every change after get.
// If ctx or the watch ends, it returns the last error.
func (a apiClaims) watch(ctx context.Context, name, uid string, last error) (*v1.IP, error) {
	w, err := a.client.Watch(ctx, &v1.IPList{}, client.MatchingFields{"metadata.name": name})
	if err != nil {
		return nil, errors.Join(last, err)
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		ip, ok := event.Object.(*v1.IP)
		if !ok {
			continue // a Status: the server ends the watch
		}
		if event.Type == watch.Deleted {
			last = errors.New("the IP object was deleted")
			continue
		}
		if ip, last = checkClaim(ip, uid); last == nil {
			return ip, nil
		}
	}
	return nil, last
}
