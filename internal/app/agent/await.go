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
)

// apiClaims reads claims from the API server. Nothing is kept: a node has few
// pods that start at a time, and a cluster has many IPs.
type apiClaims struct{ client client.WithWatch }

// Bounds of the wait after a broken watch.
const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 2 * time.Second
)

// Await asks once, because the claim is nearly always there already, and
// watches that one object if it is not.
func (a apiClaims) Await(ctx context.Context, name, uid string) (*v1.IP, error) {
	for retry := firstRetry; ; retry = min(2*retry, lastRetry) {
		ip, wrong := a.get(ctx, name, uid)
		if wrong != nil && ctx.Err() == nil {
			ip, wrong = a.watch(ctx, name, uid, wrong)
		}
		if wrong == nil {
			return ip, nil
		}
		if !pause(ctx, retry) {
			return nil, &cniwire.Error{
				Code: cniwire.CodeTryAgainLater, Msg: "waiting for claim " + name,
				Details: wrong.Error() + ": is isthmus-controller running, and has the pod an event that says why it gets no address?",
			}
		}
	}
}

// get takes what the API server has at hand; it may be old, but then the UID is wrong.
func (a apiClaims) get(ctx context.Context, name, uid string) (*v1.IP, error) {
	ip := &v1.IP{}
	err := a.client.Get(ctx, client.ObjectKey{Name: name}, ip, &client.GetOptions{Raw: &metav1.GetOptions{ResourceVersion: "0"}})
	if apierrors.IsNotFound(err) {
		return nil, errors.New("there is no such IP object")
	}
	if err != nil {
		return nil, fmt.Errorf("ask the API server: %w", err)
	}
	return right(ip, uid)
}

func right(ip *v1.IP, uid string) (*v1.IP, error) {
	if ip.Spec.PodUID != uid {
		return nil, fmt.Errorf("the IP object is for the pod with UID %s, not %s", ip.Spec.PodUID, uid)
	}
	if !ip.DeletionTimestamp.IsZero() {
		return nil, errors.New("the IP object is being deleted")
	}
	return ip, nil
}

// watch begins with what there is, so that nothing is missed between. It
// returns what was wrong last when ctx or the watch ends.
func (a apiClaims) watch(ctx context.Context, name, uid string, wrong error) (*v1.IP, error) {
	w, err := a.client.Watch(ctx, &v1.IPList{}, client.MatchingFields{"metadata.name": name})
	if err != nil {
		return nil, errors.Join(wrong, err)
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		ip, ok := event.Object.(*v1.IP)
		if !ok {
			continue // the server's last words before it ends the watch
		}
		if event.Type == watch.Deleted {
			wrong = errors.New("there is no such IP object any more")
			continue
		}
		if ip, wrong = right(ip, uid); wrong == nil {
			return ip, nil
		}
	}
	return nil, wrong
}

// pause is false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
