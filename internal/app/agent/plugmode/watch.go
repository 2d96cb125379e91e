package plugmode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/isthmus-cni/isthmus/internal/retry"
)

// PollInterval is the interval of WatchForSwitch when the kernel gives no events.
const PollInterval = 5 * time.Second

// WatchForSwitch returns ErrChanged, wrapped, when Open vSwitch starts on a node that had
// none when the agent started. It returns nil when ctx ends. It waits for the kernel's
// events, or looks every interval if the kernel has no watch left for us.
func WatchForSwitch(ctx context.Context, endpoint string, interval time.Duration, log *slog.Logger) error {
	err := awaitSwitch(ctx, endpoint)
	if err == nil || errors.Is(err, ErrChanged) {
		return err
	}
	log.Warn("watching for Open vSwitch failed, looking for it at intervals", "endpoint", endpoint, "interval", interval, "err", err)
	for !HasSwitch(endpoint) && retry.Pause(ctx, interval) == nil {
	}
	if !HasSwitch(endpoint) {
		return nil
	}
	return switchStarted(endpoint)
}

func switchStarted(endpoint string) error {
	return fmt.Errorf("the node's Open vSwitch has started at %s: %w", endpoint, ErrChanged)
}

// awaitSwitch returns ErrChanged, wrapped, when the switch runs, nil when ctx ends first,
// and another error if it cannot watch.
func awaitSwitch(ctx context.Context, endpoint string) error {
	file := strings.TrimPrefix(endpoint, "unix:")
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch for %s: %w", file, err)
	}
	defer w.Close()
	if err := w.Add(filepath.Dir(file)); err != nil {
		return fmt.Errorf("watch for %s: %w", file, err)
	}
	for !HasSwitch(endpoint) {
		select {
		case <-w.Events:
		case err := <-w.Errors:
			return fmt.Errorf("watch for %s: %w", file, err)
		case <-ctx.Done():
			return nil
		}
	}
	return switchStarted(endpoint)
}
