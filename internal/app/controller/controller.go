// Package controller wires the controller: it watches Kubernetes and OVN, and
// keeps the units of the table in units.go true. What it asks of the network
// is decided in internal/decide; here is only reading, sending and telling.
package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/app/controller/poolserver"
	"github.com/isthmus-cni/isthmus/internal/daemon"
	"github.com/isthmus-cni/isthmus/internal/settings"
)

// name is the controller's in events, leases and managed fields.
const name = "isthmus-controller"

// Options of a controller.
type Options struct {
	Settings settings.Settings
	// REST is how the API server is reached.
	REST *rest.Config
	Log  *slog.Logger
	// Address serves /metrics, /healthz and /readyz, ":10661"; "0" serves nothing.
	Address string
	// PoolSocket is where the pools of ready ports are served; empty for nowhere.
	PoolSocket string
	// Elect is false where nobody else can be running.
	Elect bool
}

// Run runs the controller until ctx ends or it is no longer the leader, which
// is an error.
func Run(ctx context.Context, o Options) error {
	m, err := manager.New(o.REST, managerOptions(o, daemon.ForLibraries(o.Log)))
	if err != nil {
		return fmt.Errorf("set up the controller: %w", err)
	}
	c, err := newCluster(ctx, m, o)
	if err != nil {
		return err
	}
	if err := m.Add(endpoints{o.Address, c}); err != nil {
		return err
	}
	if o.PoolSocket != "" && o.Settings.Neutron != nil {
		if err := m.Add(poolserver.Server{Path: o.PoolSocket, Find: c.poolHandler, Log: o.Log}); err != nil {
			return err
		}
	}
	if err := m.Add(manager.RunnableFunc(c.lead)); err != nil {
		return err
	}
	if err := m.Start(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("controller: %w", err)
	}
	return nil
}

func managerOptions(o Options, logger logr.Logger) manager.Options {
	consistent := true
	return manager.Options{
		Scheme: kube.NewScheme(), Logger: logger,
		Cache: kube.CacheOptions(),
		Client: client.Options{
			Cache:      &client.CacheOptions{EnableReadYourWritesConsistency: &consistent},
			FieldOwner: name,
		},
		Metrics:        server.Options{BindAddress: "0"}, // See endpoints.
		LeaderElection: o.Elect, LeaderElectionID: name, LeaderElectionNamespace: settings.Namespace,
		// The process ends when Run returns.
		LeaderElectionReleaseOnCancel: true,
	}
}
