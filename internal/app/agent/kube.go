package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/daemon"
)

// kube has the agent's clients of the API server.
type kube struct {
	client client.WithWatch
	// cache holds all Subnets, this Node, and the IPs of this node.
	cache cache.Cache
	// events sends events in the background.
	events events.EventRecorder
	// close stops sending events and closes idle connections. It may be called more
	// than once.
	close func()
}

// newKube makes the clients of an agent on that node. The caller must call close.
func newKube(c *rest.Config, node string) (*kube, error) {
	c = rest.CopyConfig(c)
	c.QPS, c.Burst = 50, 100
	h, err := rest.HTTPClientFor(c)
	if err != nil {
		return nil, err
	}
	s := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(s), v1.AddToScheme(s)); err != nil {
		return nil, err
	}
	k := &kube{}
	if k.client, err = client.NewWithWatch(c, client.Options{Scheme: s, HTTPClient: h, Mapper: mapper()}); err != nil {
		return nil, err
	}
	k.cache, err = cache.New(c, cache.Options{
		Scheme: s, HTTPClient: h, Mapper: mapper(), DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&v1.Subnet{}:   {},
			&v1.IP{}:       {Label: labels.SelectorFromSet(labels.Set{v1.LabelNode: node})},
			&corev1.Node{}: {Field: fields.OneTermEqualSelector("metadata.name", node), Transform: onlyMeta},
		},
	})
	if err != nil {
		return nil, err
	}
	recorder, stop, err := daemon.NewRecorder(name, c, h)
	if err != nil {
		return nil, err
	}
	k.events, k.close = recorder, sync.OnceFunc(func() { stop(); h.CloseIdleConnections() })
	return k, nil
}

// onlyMeta keeps only a Node's metadata. The kubelet writes the status every few minutes.
func onlyMeta(o any) (any, error) {
	if n, ok := o.(*corev1.Node); ok {
		return &corev1.Node{TypeMeta: n.TypeMeta, ObjectMeta: n.ObjectMeta}, nil
	}
	return o, nil
}

// mapper returns a mapper of the agent's kinds, so that it starts without discovery.
func mapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	m.Add(v1.GroupVersion.WithKind("Subnet"), meta.RESTScopeRoot)
	m.Add(v1.GroupVersion.WithKind("IP"), meta.RESTScopeRoot)
	m.Add(corev1.SchemeGroupVersion.WithKind("Node"), meta.RESTScopeRoot)
	return m
}

// run fills the cache and calls changed after each change, until ctx ends. It then
// closes k.
func (k *kube) run(ctx context.Context, changed func(), log *slog.Logger) error {
	for _, o := range []client.Object{&v1.Subnet{}, &v1.IP{}, &corev1.Node{}} {
		informer, err := k.cache.GetInformer(ctx, o, cache.BlockUntilSynced(false))
		if err != nil {
			return fmt.Errorf("watch %T: %w", o, err)
		}
		_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { changed() },
			UpdateFunc: func(_, _ any) { changed() },
			DeleteFunc: func(any) { changed() },
		})
		if err != nil {
			return fmt.Errorf("watch %T: %w", o, err)
		}
	}
	log.Debug("watching Subnets, IPs and the Node")
	defer k.close()
	return k.cache.Start(ctx)
}
