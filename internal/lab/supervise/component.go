// Package supervise starts components in the order of their needs, in parallel where
// possible, and stops them. After a killed run it finds their processes by pid and
// start time, never by name. Read supervisor.go first.
package supervise

import "context"

// Component is one part of the lab, as data. A component without Argv is a step, such
// as the creation of a database or a network.
type Component struct {
	// Name is unique: "ovn-nb", "node1/kubelet", "keystone".
	Name string
	// Needs are the names of the components that must be ready first.
	Needs []string
	// Argv is a command that stays in the foreground. The supervisor starts it in a
	// session of its own. Its output goes to the component's log.
	Argv []string
	// Env has variables, "KEY=value", that are added to Environment.
	Env []string
	// Prepare creates what the process needs, such as directories and
	// configuration. It runs before every start and must be idempotent. It may be
	// nil.
	Prepare func(context.Context) error
	// Do is the work of a step. It must be idempotent. It is nil for a process.
	Do func(context.Context) error
	// Ready returns nil when the process serves, or when the step has taken
	// effect. The supervisor repeats it until its Timeout ends. A component
	// without Ready is ready as soon as it is started or done.
	Ready func(context.Context) error
	// Done reports whether a step need not run again. A step without Done always
	// runs.
	Done func(context.Context) bool
}
