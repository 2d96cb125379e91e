package controller

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/isthmus-cni/isthmus/internal/daemon"
	"github.com/isthmus-cni/isthmus/internal/poolwire"
)

// flags are the program's own options and those of every daemon.
type flags struct {
	daemon.Options
	poolSocket string
	elect      bool
}

// Main runs the program and returns its exit code. With the argument "pool" it
// is the client that kubectl ko runs in the controller's pod.
func Main(args []string, getenv func(string) string) int {
	if len(args) > 0 && args[0] == "pool" {
		return askPool(args[1:], getenv)
	}
	f, err := parse(args, getenv)
	if err != nil {
		return daemon.UsageError(name, err)
	}
	return daemon.Run(name, f.Options, func(ctx context.Context, p daemon.Process) error {
		// The API server limits its clients itself.
		p.REST.QPS = -1
		return Run(ctx, Options{Settings: p.Settings, REST: p.REST, Log: p.Log, Address: f.Listen, PoolSocket: f.poolSocket, Elect: f.elect})
	})
}

func askPool(args []string, getenv func(string) string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM) //nolint:forbidigo // the program begins here
	defer stop()
	if err := poolwire.Ask(ctx, cmp.Or(getenv(poolwire.SocketEnv), poolwire.Socket), args, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func parse(args []string, getenv func(string) string) (flags, error) {
	f := flags{Options: daemon.DefaultOptions(":10661")}
	set := pflag.NewFlagSet(name, pflag.ContinueOnError)
	f.AddFlags(set)
	set.StringVar(&f.poolSocket, "pool-socket", poolwire.Socket, "unix socket on which kubectl ko reads the port pools; none if empty")
	set.BoolVar(&f.elect, "leader-elect", true, "work only while this is the elected leader")
	err := daemon.ParseFlags(set, args, getenv)
	return f, err
}
