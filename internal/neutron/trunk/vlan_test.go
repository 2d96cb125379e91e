package trunk

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// A port keeps its VLAN id if that is free. An id that was just released is not allocated
// next.
func TestReserve(t *testing.T) {
	t.Parallel()
	v := vlanAllocator{vlans: map[string]int{"theirs": 7}}
	got, enough := v.reserve([]Subport{{Port: "a", VLAN: 7}, {Port: "b", VLAN: 99}, {Port: "c", VLAN: 5000}})
	if !enough || got[0].VLAN != 1 || got[1].VLAN != 99 || got[2].VLAN != 2 {
		t.Errorf("%+v", got)
	}
	v.release(got)
	if again, _ := v.reserve([]Subport{{Port: "d"}}); again[0].VLAN != 3 {
		t.Errorf("%+v was released a moment ago", again)
	}
}

// No two ports of a trunk ever have the same VLAN id, and a failed reservation reserves
// nothing.
func TestReserveNeverTwice(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := vlanAllocator{vlans: map[string]int{}, last: rapid.IntRange(0, LastVLAN).Draw(t, "last")}
		for vlan := FirstVLAN + 5; vlan <= LastVLAN; vlan++ {
			v.vlans[fmt.Sprint("theirs", vlan)] = vlan
		}
		for i := range 8 {
			ports := []Subport{{Port: fmt.Sprint("p", i), VLAN: rapid.IntRange(-1, 10).Draw(t, "wish")}, {Port: fmt.Sprint("q", i)}}
			before := len(v.vlans)
			got, enough := v.reserve(ports)
			if !enough && len(v.vlans) != before {
				t.Fatal("a refusal has reserved an id")
			}
			if rapid.Bool().Draw(t, "release") {
				v.release(got)
			}
			by := map[int]string{}
			for port, vlan := range v.vlans {
				if other, twice := by[vlan]; twice || vlan < FirstVLAN || vlan > LastVLAN {
					t.Fatalf("%s and %s have VLAN id %d", other, port, vlan)
				}
				by[vlan] = port
			}
		}
	})
}
