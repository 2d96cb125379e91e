// Command kubectl-ko is kubectl's plugin "ko": the commands that an operator of Isthmus
// needs in addition to the API objects. See internal/ko.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/isthmus-cni/isthmus/internal/ko"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := ko.Main(ctx, os.Args[1:], ko.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(status)
}
