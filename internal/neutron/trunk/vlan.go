package trunk

// The range of valid VLAN ids.
const (
	FirstVLAN = 1
	LastVLAN  = 4094
)

// vlanAllocator allocates the VLAN ids of one trunk's subports.
type vlanAllocator struct {
	// vlans has the VLAN ids of all subports, ours and foreign ones, by the port's id.
	vlans map[string]int
	// last is the id that was allocated last. The search starts after it, because a pod
	// that is being removed may still use a released id.
	last int
}

// reserve returns the ports with VLAN ids, and false if there are not enough ids. A port
// keeps the VLAN id that it has if no other port uses it.
func (v *vlanAllocator) reserve(ports []Subport) ([]Subport, bool) {
	taken := map[int]bool{}
	for _, vlan := range v.vlans {
		taken[vlan] = true
	}
	var out []Subport
	for _, p := range ports {
		if p.VLAN < FirstVLAN || p.VLAN > LastVLAN || taken[p.VLAN] {
			p.VLAN = v.next(taken)
		}
		if p.VLAN == 0 {
			return nil, false
		}
		taken[p.VLAN] = true
		out = append(out, p)
	}
	for _, p := range out {
		v.vlans[p.Port] = p.VLAN
	}
	return out, true
}

// next returns a VLAN id that is not taken, 0 if there is none.
func (v *vlanAllocator) next(taken map[int]bool) int {
	for range LastVLAN {
		v.last = v.last%LastVLAN + 1
		if !taken[v.last] {
			return v.last
		}
	}
	return 0
}

func (v *vlanAllocator) release(ports []Subport) {
	for _, p := range ports {
		delete(v.vlans, p.Port)
	}
}
