// Package supervise knows processes: it starts components in the order of
// their needs, side by side where it can, watches them, and finds them again
// after a killed run by pid and start time, never by name.
package supervise

import "context"

// Component is one thing of the lab, as data. A component without Argv is a
// step (databases made, a network created): Do runs once and is idempotent.
type Component struct {
	// Name is unique: "ovn-nb", "node1/kubelet", "keystone".
	Name string
	// Needs are names of components that must be ready first.
	Needs []string
	// Argv runs in the foreground; the supervisor detaches it in a session of
	// its own, its output goes to the component's log.
	Argv []string
	// Env is added to a minimal environment, "KEY=value".
	Env []string
	// Prepare makes what the process needs (directories, configuration); it
	// runs before every start and must be idempotent. nil for none.
	Prepare func(context.Context) error
	// Do is the work of a step. nil for a process.
	Do func(context.Context) error
	// Ready returns nil when the component serves, or when what a step asked for
	// has come true; it is asked again until the supervisor's patience ends. nil
	// means ready as soon as started or done.
	Ready func(context.Context) error
	// Done tells whether a step need not run again. nil means that it always runs.
	Done func(context.Context) bool
}
