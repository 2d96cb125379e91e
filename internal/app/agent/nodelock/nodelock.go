// Package nodelock knows the lock file that prevents an agent and a cleanup from working
// on a node at the same time. The kernel unlocks the file when its process ends.
package nodelock

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// File returns the path of the lock of the agent with that socket.
func File(socket string) string { return filepath.Join(filepath.Dir(socket), "agent.lock") }

// Share locks the file for an agent, which keeps the lock while it runs. Agents do not
// exclude each other, because a new agent may start before the old one has ended. Share
// errs at once if a cleanup has the lock; otherwise the caller must call unlock.
func Share(file string) (unlock func(), err error) { return lock(file, unix.LOCK_SH) }

// Exclude locks the file for a cleanup. It errs at once if an agent or another cleanup
// has the lock; otherwise the caller must call unlock, which also removes the file.
func Exclude(file string) (unlock func(), err error) {
	release, err := lock(file, unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	return func() {
		_ = os.Remove(file) // an empty file that stays is harmless
		release()
	}, nil
}

func lock(file string, how int) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, fmt.Errorf("make the lock's directory: %w", err)
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", file, err)
	}
	return func() { f.Close() }, nil
}
