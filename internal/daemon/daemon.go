// Package daemon has the parts that isthmus-agent and isthmus-controller share:
// options and environment, logging, the connection to the API server, HTTP endpoints,
// events, signals and exit codes. It knows neither daemon. Read Run first.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"

	"github.com/isthmus-cni/isthmus/internal/settings"
)

// Exit codes of a daemon.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// Process has what Run prepares for a daemon's work.
type Process struct {
	// Name is the program's name, such as isthmus-agent.
	Name string
	Log  *slog.Logger
	// Settings are the cluster's settings, read once at the start.
	Settings settings.Settings
	// REST is the configuration for clients of the API server. Its UserAgent is Name.
	REST *rest.Config
}

// Run calls work, whose ctx ends when the process gets SIGTERM or SIGINT. It returns the
// exit code: 0, or 1 if work returned an error or could not start.
func Run(name string, o Options, work func(ctx context.Context, p Process) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM) //nolint:forbidigo // the program begins here
	defer stop()
	log := newLogger(o.LogLevel)
	p, err := start(name, o, log)
	if err == nil {
		err = work(ctx, p)
	}
	if err != nil {
		log.Error("daemon stopped", "name", name, "err", err)
		return exitFailed
	}
	return exitDone
}

func start(name string, o Options, log *slog.Logger) (Process, error) {
	text, err := os.ReadFile(o.Settings)
	if err != nil {
		return Process{}, fmt.Errorf("read the settings: %w", err)
	}
	s, err := settings.Parse(text)
	if err != nil {
		return Process{}, err
	}
	config, err := restConfig(name, o.Kubeconfig, s.APIServers)
	if err != nil {
		return Process{}, fmt.Errorf("configure the API client: %w", err)
	}
	log.Info("daemon starts", "name", name, "cluster", s.Cluster)
	return Process{Name: name, Log: log, Settings: s, REST: config}, nil
}

// UsageError prints why the options of the daemon were refused and returns the
// exit code: 2, or 0 if the user asked for help, which pflag has printed.
func UsageError(name string, err error) int {
	if errors.Is(err, pflag.ErrHelp) {
		return exitDone
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	return exitUsage
}
