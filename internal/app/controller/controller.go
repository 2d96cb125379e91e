// Package controller is the controller: it watches Kubernetes, OVN and OpenStack,
// and runs the units of the table in units.go. internal/decide decides what they
// ask of the network; this package only reads, applies and reports.
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

// name is the controller's name in events, leases and managed fields.
const name = "isthmus-controller"

// Options of a controller.
type Options struct {
	Settings settings.Settings
	// REST is how to connect to the API server.
	REST *rest.Config
	Log  *slog.Logger
	// Address serves /metrics, /healthz and /readyz, ":10661"; "0" serves nothing.
	Address string
	// PoolSocket is the Unix socket on which the pools of ready ports are served;
	// none if empty.
	PoolSocket string
	// Elect makes the controller wait until it is the leader. It is false if no
	// other controller can be running.
	Elect bool
}

// Run runs the controller until ctx ends. It errs if the controller cannot start
// or is no longer the leader.
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
