package controller

import "strings"

// external is the id of the network of floating IPs: nobody is asked for it.
const external = "11111111-2222-4333-8444-555555555555"

// balancers FILE COLLECTION PREFIX: Octavia has things of these names, of those
// that begin so.
func (w *world) balancers(args []string) error {
	return w.compare(args[0], func() (string, error) {
		var out []string
		for _, n := range w.cloud.octavia.Names(args[1]) {
			if _, to, leads := strings.Cut(n, " -> "); leads {
				n = to // what a floating IP leads to
			}
			if strings.HasPrefix(n, args[2]) {
				out = append(out, n)
			}
		}
		return strings.Join(out, "\n"), nil
	})
}

// spoil COLLECTION NAME deletes something of Octavia's as somebody else would.
func (w *world) spoil(args []string) error {
	w.cloud.octavia.Edit(args[0], args[1], nil)
	return nil
}
