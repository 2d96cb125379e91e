package host

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheFirstLabsNames(t *testing.T) {
	s := siteOf(DefaultDir)
	n := s.Nodes(2)[1]
	got := []string{s.Bridge(), n.Link(), n.CgroupRoot(), s.Gateway().String(), n.Addr.String(), n.MAC(), s.Loopback().String()}
	want := []string{"isthmus0", "is-node2", "/isthmus-lab/node2", "172.31.0.1/24", "172.31.0.12/24", "02:00:ac:1f:00:0c", "127.0.0.1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestASecondLabSharesNothing(t *testing.T) {
	a := siteOf(DefaultDir)
	b := Site{"/run/isthmus-lab2", netip.MustParsePrefix("172.31.1.0/24")}
	an, bn := a.Nodes(1)[0], b.Nodes(1)[0]
	for _, pair := range [][2]string{
		{a.Bridge(), b.Bridge()},
		{a.linkPrefix(), b.linkPrefix()},
		{a.cgroup(), b.cgroup()},
		{a.Gateway().String(), b.Gateway().String()},
		{a.Loopback().String(), b.Loopback().String()},
		{an.Addr.String(), bn.Addr.String()},
		{an.MAC(), bn.MAC()},
		{an.Dir, bn.Dir},
		{a.recordFile(), b.recordFile()},
	} {
		if pair[0] == pair[1] {
			t.Errorf("both labs have %s", pair[0])
		}
	}
	if an.Name != bn.Name {
		t.Errorf("nodes are named %s and %s", an.Name, bn.Name)
	}
	if long := b.Nodes(20)[19].Link(); len(long) > 15 {
		t.Errorf("%s is too long for an interface", long)
	}
}

// A mount point of two labs is removed with the second of them, whichever that is.
func TestMountPointsGoWithTheLastLab(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("writes to /run")
	}
	//nolint:usetesting // the lab's mount points are below /run
	root, err := os.MkdirTemp("/run", "h-site-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(root)
	a, b := siteOf(filepath.Join(root, "a")), siteOf(filepath.Join(root, "b"))
	shared, alone := filepath.Join(root, "x", "y"), filepath.Join(root, "x", "z")
	for _, make := range []struct {
		site Site
		dir  string
	}{{a, shared}, {b, shared}, {b, alone}} {
		if err := make.site.Nodes(1)[0].makeMountPoint(make.dir); err != nil {
			t.Fatal(err)
		}
	}
	a.removeMountPoints()
	if !exists(shared) || !exists(alone) {
		t.Error("a directory of the second lab went with the first")
	}
	b.removeMountPoints()
	if exists(filepath.Join(root, "x")) {
		t.Error("directories are left over")
	}
	if exists(a.recordFile()) || exists(b.recordFile()) {
		t.Error("notes are left over")
	}
}
