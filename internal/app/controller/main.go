package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/isthmus-cni/isthmus/internal/poolwire"
	"github.com/isthmus-cni/isthmus/internal/settings"
)

// flags of the program, each also in the environment: ISTHMUS_LOG_LEVEL.
type flags struct {
	settings, kubeconfig, listen string
	poolSocket                   string
	elect                        bool
	level                        slog.Level
}

// Main runs the program and returns its exit code.
func Main(args []string, getenv func(string) string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if len(args) > 0 && args[0] == "pool" {
		return said(poolwire.Ask(ctx, cmp.Or(getenv(poolwire.SocketEnv), poolwire.Socket), args[1:], os.Stdout))
	}
	f, err := parse(args, getenv)
	if errors.Is(err, pflag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: f.level}))
	if err := run(ctx, f, log); err != nil {
		log.Error("isthmus-controller ends", "err", err)
		return 1
	}
	return 0
}

// said is the exit code of what prints its own error.
func said(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func parse(args []string, getenv func(string) string) (flags, error) {
	var f flags
	level := "info"
	set := pflag.NewFlagSet(name, pflag.ContinueOnError)
	set.SetOutput(os.Stderr)
	set.StringVar(&f.settings, "settings", settings.File, "file with the cluster's settings")
	set.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig to use instead of the service account")
	set.StringVar(&f.listen, "listen", ":10661", "address of /metrics, /healthz and /readyz")
	set.StringVar(&f.poolSocket, "pool-socket", poolwire.Socket, "where kubectl ko asks for the pools of ready ports; empty for nowhere")
	set.BoolVar(&f.elect, "leader-elect", true, "work only while this is the elected leader")
	set.StringVar(&level, "log-level", level, "debug, info, warn or error")
	var errs []error
	set.VisitAll(func(flag *pflag.Flag) {
		env := "ISTHMUS_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
		if value := getenv(env); value != "" {
			errs = append(errs, set.Set(flag.Name, value))
		}
	})
	if err := errors.Join(errs...); err != nil {
		return f, fmt.Errorf("environment: %w", err)
	}
	if err := set.Parse(args); err != nil {
		return f, err
	}
	if set.NArg() > 0 {
		return f, fmt.Errorf("%s takes no arguments: %q", name, set.Args())
	}
	return f, f.level.UnmarshalText([]byte(level))
}

func run(ctx context.Context, f flags, log *slog.Logger) error {
	text, err := os.ReadFile(f.settings)
	if err != nil {
		return fmt.Errorf("read the settings: %w", err)
	}
	s, err := settings.Parse(text)
	if err != nil {
		return err
	}
	config, err := restConfig(f.kubeconfig, s.APIServers)
	if err != nil {
		return fmt.Errorf("reach the API server: %w", err)
	}
	log.Info("isthmus-controller starts", "cluster", s.Cluster)
	return Run(ctx, Options{Settings: s, REST: config, Log: log, Address: f.listen, PoolSocket: f.poolSocket, Elect: f.elect})
}
