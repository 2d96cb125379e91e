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
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

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
	logger := quiet(o.Log)
	log.SetLogger(logger)
	klog.SetSlogLogger(o.Log)
	m, err := manager.New(o.REST, managerOptions(o, logger))
	if err != nil {
		return fmt.Errorf("set up the controller: %w", err)
	}
	c, err := newCluster(ctx, m, o)
	if err != nil {
		return err
	}
	if err := m.Add(page{o.Address, c}); err != nil {
		return err
	}
	if o.PoolSocket != "" && o.Settings.Neutron != nil {
		if err := m.Add(poolSocket{o.PoolSocket, c.poolDesk(), o.Log}); err != nil {
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
		Scheme: newScheme(), Logger: logger,
		Cache: cacheOptions(),
		Client: client.Options{
			Cache:      &client.CacheOptions{EnableReadYourWritesConsistency: &consistent},
			FieldOwner: name,
		},
		Metrics:        server.Options{BindAddress: "0"}, // See page.
		LeaderElection: o.Elect, LeaderElectionID: name, LeaderElectionNamespace: settings.Namespace,
		// The process ends when Run returns.
		LeaderElectionReleaseOnCancel: true,
	}
}

// quiet lets controller-runtime speak of what is wrong only: what it starts
// and stops is no change of the network.
func quiet(log *slog.Logger) logr.Logger { return logr.FromSlogHandler(warnings{log.Handler()}) }

type warnings struct{ slog.Handler }

// Enabled asks the handler below whether it wants to hear it at all.
func (w warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return w.Handler.Enabled(ctx, l) && (l >= slog.LevelWarn || w.Handler.Enabled(ctx, slog.LevelDebug))
}

// WithAttrs keeps the threshold.
func (w warnings) WithAttrs(a []slog.Attr) slog.Handler { return warnings{w.Handler.WithAttrs(a)} }

// WithGroup keeps the threshold.
func (w warnings) WithGroup(g string) slog.Handler { return warnings{w.Handler.WithGroup(g)} }
