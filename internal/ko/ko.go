// Package ko has the operator's commands, "kubectl ko ...". It finds the cluster as
// kubectl does, reads the settings there, and asks OVN, OpenStack or the controller. The
// cleanups and "pool fill" and "pool free" change something, and so may the arguments of
// nbctl and sbctl. Read ko.go first; each command has a file.
package ko

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/isthmus-cni/isthmus/internal/retry"
)

// Streams are the input and the outputs of a command.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Exit is the exit status of a program that the command has run and that has already
// printed its error.
type Exit int

func (e Exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// tool has what all commands share.
type tool struct {
	Streams
	overrides clientcmd.ConfigOverrides
	rules     *clientcmd.ClientConfigLoadingRules
	// connect returns a client of the cluster. Tests replace it.
	connect func() (kubernetes.Interface, error)
	// objects returns a client for objects of our own kinds.
	objects func() (dynamic.Interface, error)
	// findProgram returns the path of a program on the user's machine; run runs it.
	findProgram func(name string) (string, error)
	run         func(ctx context.Context, s Streams, argv []string) error
	// getenv reads the user's environment.
	getenv func(name string) string
	// socket is the pool socket of a controller outside the cluster, empty for none.
	socket string
	// pauses are the pauses between two attempts of a cleanup in OpenStack.
	pauses retry.Backoff
}

// Main runs the command that args name, and returns the exit status.
func Main(ctx context.Context, args []string, s Streams) int {
	t := newTool(s)
	err := t.execute(ctx, args)
	var exit Exit
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	}
	_, _ = fmt.Fprintln(s.Err, "kubectl ko:", err)
	return 1
}

func newTool(s Streams) *tool {
	t := &tool{Streams: s, rules: clientcmd.NewDefaultClientConfigLoadingRules(), findProgram: lookPath, run: runHere, getenv: os.Getenv, pauses: clearPauses()}
	config := func() (*rest.Config, error) {
		return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(t.rules, &t.overrides).ClientConfig()
	}
	t.connect = func() (kubernetes.Interface, error) {
		c, err := config()
		if err != nil {
			return nil, err
		}
		return kubernetes.NewForConfig(c)
	}
	t.objects = func() (dynamic.Interface, error) {
		c, err := config()
		if err != nil {
			return nil, err
		}
		return dynamic.NewForConfig(c)
	}
	return t
}

func (t *tool) execute(ctx context.Context, args []string) error {
	root := &cobra.Command{
		Use:   "kubectl-ko",
		Short: "Look after a network that Kubernetes and OpenStack share",
		// kubectl's own flags come before the command, because all arguments after nbctl
		// and sbctl belong to these programs.
		TraverseChildren: true,
		SilenceErrors:    true,
		SilenceUsage:     true,
		Annotations:      map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl ko"},
	}
	root.PersistentFlags().StringVar(&t.rules.ExplicitPath, "kubeconfig", "", "the kubeconfig file; as kubectl's")
	root.PersistentFlags().StringVar(&t.overrides.CurrentContext, "context", "", "the kubeconfig's context; as kubectl's")
	root.AddCommand(t.database(northbound), t.database(southbound), t.neutron(), t.pool(), t.cleanup())
	root.SetArgs(args)
	root.SetIn(t.In)
	root.SetOut(t.Out)
	root.SetErr(t.Err)
	return root.ExecuteContext(ctx)
}
