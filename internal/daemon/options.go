package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/isthmus-cni/isthmus/internal/settings"
)

// Options that both daemons have. Each embeds them in its own.
type Options struct {
	// Settings is the file of the cluster's settings.
	Settings string
	// Kubeconfig is used instead of the pod's service account if not empty.
	Kubeconfig string
	// Listen is the address of the HTTP endpoints, ":10661"; "0" serves none.
	Listen string
	// LogLevel is the lowest level that is logged.
	LogLevel slog.Level
}

// DefaultOptions returns the options of a daemon in its pod that serves its endpoints on
// listen.
func DefaultOptions(listen string) Options {
	return Options{Settings: settings.File, Listen: listen}
}

// AddFlags adds a flag for each option to f, with o's values as defaults.
func (o *Options) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Settings, "settings", o.Settings, "file with the cluster's settings")
	f.StringVar(&o.Kubeconfig, "kubeconfig", o.Kubeconfig, "kubeconfig to use instead of the service account")
	f.StringVar(&o.Listen, "listen", o.Listen, "address of /metrics, /healthz and /readyz; 0 serves none")
	f.TextVar(&o.LogLevel, "log-level", o.LogLevel, "debug, info, warn or error")
}

// ParseFlags sets f's flags from the environment and then from args, so that args
// override. The variable of flag log-level is ISTHMUS_LOG_LEVEL. It returns
// pflag.ErrHelp if args ask for help, and an error for arguments that are no flags.
func ParseFlags(f *pflag.FlagSet, args []string, getenv func(string) string) error {
	f.SetOutput(os.Stderr)
	var errs []error
	f.VisitAll(func(flag *pflag.Flag) {
		if value := getenv(environmentVariable(flag.Name)); value != "" {
			errs = append(errs, f.Set(flag.Name, value))
		}
	})
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("environment: %w", err)
	}
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unknown arguments %q: only flags are accepted", f.Args())
	}
	return nil
}

// environmentVariable returns the name of the environment variable that sets a flag.
func environmentVariable(flag string) string {
	return "ISTHMUS_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}
