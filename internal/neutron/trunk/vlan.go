package trunk

// The VLAN ids that exist.
const (
	FirstVLAN = 1
	LastVLAN  = 4094
)

// vlanAllocator chooses the VLAN ids of one trunk's subports.
type vlanAllocator struct {
	// vlans has the VLAN ids of all subports, whoever owns them, by the port's id.
	vlans map[string]int
	// last was allocated last. The next one is another: a pod that is just being
	// unplugged may still use its VLAN id.
	last int
}

// reserve returns the ports with VLAN ids; false if there are not enough ids. A port keeps
// the VLAN id that it comes with if nobody else has it.
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
