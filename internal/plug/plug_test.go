package plug

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func port() Port {
	return Port{
		Container: "0123456789abcdef", Link: "eth0", Pod: "net2/ubuntu", UID: "uid-1",
		IfaceID: "ubuntu.net2", IfaceIDVer: "uid-1", MAC: "00:00:00:0c:00:02",
		Addrs:    []netip.Prefix{netip.MustParsePrefix("12.0.1.2/24")},
		Gateways: []netip.Addr{netip.MustParseAddr("12.0.1.1")},
		MTU:      1400,
	}
}

func node() Node {
	return Node{Mode: OVS, Bridge: "br-int", Owner: "kubernetes", UnderlayMTU: 1500}
}

func TestSteps(t *testing.T) {
	for name, change := range map[string]func(*Port, *Node){
		"plain":     func(*Port, *Node) {},
		"userspace": func(_ *Port, n *Node) { n.Userspace = true },
		"hostlink":  func(p *Port, _ *Node) { p.HostLink = true },
		"two-families": func(p *Port, _ *Node) {
			p.Addrs = append(p.Addrs, netip.MustParsePrefix("fd00::2/64"))
			p.Gateways = append(p.Gateways, netip.MustParseAddr("fd00::1"))
		},
		"gateway-outside": func(p *Port, _ *Node) {
			p.Addrs[0] = netip.MustParsePrefix("12.0.1.2/32")
			p.Routes = []Route{{To: netip.MustParsePrefix("10.96.0.0/12"), Via: netip.MustParseAddr("12.0.1.1")}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, n := port(), node()
			change(&p, &n)
			steps, err := Steps(p, n)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, text(steps))
		})
	}
	golden(t, "remains", text(Remains(port().Container, "eth0")))
}

func text(steps []Step) string {
	var b strings.Builder
	for _, s := range steps {
		b.WriteString(s.String() + "\n")
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s: %s", file, d)
	}
}

func TestStepsRefuses(t *testing.T) {
	for says, change := range map[string]func(*Port, *Node){
		"does not fit":  func(p *Port, _ *Node) { p.MTU = 1443 },
		"leaves 1422":   func(p *Port, n *Node) { p.MTU = 1442; n.Underlay6 = true },
		"VLAN link":     func(p *Port, _ *Node) { p.Tag = 101 },
		"names no port": func(p *Port, _ *Node) { p.IfaceID = "" },
		"no address":    func(p *Port, _ *Node) { p.Addrs = nil },
		"invalid MAC":   func(p *Port, _ *Node) { p.MAC = "x" },
	} {
		p, n := port(), node()
		change(&p, &n)
		if _, err := Steps(p, n); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
}

// What Remains names must cover every veth and port that Steps can make.
func TestRemainsCoversSteps(t *testing.T) {
	p := port()
	p.HostLink = true
	steps, err := Steps(p, node())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(made(steps), made(Remains(p.Container, p.Link))); d != "" {
		t.Error(d)
	}
}

func made(steps []Step) (names []string) {
	for _, s := range steps {
		switch s := s.(type) {
		case Veth:
			names = append(names, "veth "+s.Host)
		case SwitchPort:
			names = append(names, "port "+s.Name)
		}
	}
	return names
}

func TestNames(t *testing.T) {
	a, b := HostName("c1", "eth0"), HostName("c2", "eth0")
	if a == b || len(a) > 15 || HostName("c1", "net1") == a {
		t.Errorf("names %q, %q are not distinct and short", a, b)
	}
	container, ours := ParseAlias(Alias("c1", "ns/"+strings.Repeat("p", 300)))
	if container != "c1" || !ours {
		t.Errorf("alias gives %q %v", container, ours)
	}
	if _, ours := ParseAlias("uplink"); ours {
		t.Error("takes a foreign link for ours")
	}
}
