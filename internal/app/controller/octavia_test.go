package controller

import "strings"

// external is the id of the network of floating IPs. Since it is an id, Neutron
// is not asked for it.
const external = "11111111-2222-4333-8444-555555555555"

// balancers FILE COLLECTION PREFIX waits until the file has the names of the
// objects in Octavia that begin with PREFIX.
func (w *world) balancers(args []string) error {
	return w.compare(args[0], func() (string, error) {
		var out []string
		for _, n := range w.cloud.octavia.Names(args[1]) {
			if _, to, leads := strings.Cut(n, " -> "); leads {
				n = to // the target of a floating IP
			}
			if strings.HasPrefix(n, args[2]) {
				out = append(out, n)
			}
		}
		return strings.Join(out, "\n"), nil
	})
}

// spoil COLLECTION NAME deletes an object in Octavia as another user would.
func (w *world) spoil(args []string) error {
	w.cloud.octavia.Edit(args[0], args[1], nil)
	return nil
}
