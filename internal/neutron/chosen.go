package neutron

import (
	"fmt"
	"slices"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// chosen hands out the very port that a pod asks for by its address or MAC, if a
// pool has it ready: Neutron would refuse to make another one with them. What has
// them and cannot become what is wanted goes.
func (s *stock) chosen(want fields) (object, bool) {
	for _, k := range s.keys() {
		h := s.shelves[k]
		for _, o := range slices.Clone(h.ready) {
			if !clash(o, want) {
				continue
			}
			h.ready = slices.DeleteFunc(slices.Clone(h.ready), func(r object) bool { return r.id == o.id })
			if o.fields["project_id"] == want["project_id"] && mayBecome(o, object{kind: kindPort, fields: want}) {
				return o, true
			}
			s.surplus = append([]object{o}, s.surplus...)
		}
	}
	return object{}, false
}

// holds is a Wait while a pool's port that nobody can have now has an address or
// the MAC that a port shall be made with: it is being cleaned, or about to go.
func (s *stock) holds(want fields) error {
	all := slices.Clone(s.surplus)
	for _, h := range s.shelves {
		all = append(all, h.returning...)
	}
	for _, o := range s.hands {
		all = append(all, o)
	}
	i := slices.IndexFunc(all, func(o object) bool { return clash(o, want) })
	if i < 0 {
		return nil
	}
	return intent.Wait{Reason: "AddressTaken", After: soon, For: fmt.Sprintf(
		"port %s of the pool, which has the address or MAC that is asked for, to be given back", all[i].id)}
}

// held is what holds says of the first port that is to be made.
func (f *Fabric) held(steps []step) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range steps {
		if s.verb == create && s.kind == kindPort {
			if err := f.stock.holds(s.fields); err != nil {
				return err
			}
		}
	}
	return nil
}

// clash tells whether a port has an address or the MAC that another shall have.
func clash(o object, want fields) bool {
	if o.fields["network_id"] != want["network_id"] {
		return false
	}
	if mac, chosen := want["mac_address"]; chosen && o.fields["mac_address"] == mac {
		return true
	}
	have, _ := o.fields["fixed_ips"].(fixedIPs)
	ips, _ := want["fixed_ips"].(fixedIPs)
	return slices.ContainsFunc(ips, func(w fixedIP) bool {
		return w.Addr != "" && slices.ContainsFunc(have, func(h fixedIP) bool { return h.Addr == w.Addr })
	})
}
