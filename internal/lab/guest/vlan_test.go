package guest

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestVLAN runs the agent's tests of VLAN links where there is a kernel that has
// them, whatever this machine's has.
func TestVLAN(t *testing.T) {
	needMachine(t)
	c, enter := bootConfig(t)
	dev := nic{TAP: "tap0", MAC: "fa:16:3e:00:00:01", MTU: 1442, Address: netip.MustParsePrefix("10.77.0.99/24")}
	spec := Spec{Name: "b-boot", Memory: 256, Modules: []string{"veth"}, Files: []File{program(t, "netdev")}}
	m, err := c.build(t.Context(), spec, dev)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Supervisor.Ensure(t.Context(), c.component(m, enter)); err != nil {
		console, _ := os.ReadFile(m.console())
		t.Fatalf("%v\n%s", err, console)
	}
	r, err := c.Exec(t.Context(), m.name, []string{"/root/netdev.test", "-test.v", "-test.run", "VLAN"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	out := string(r.Stdout)
	if r.Code != 0 || strings.Contains(out, "--- SKIP") || !strings.Contains(out, "--- PASS") {
		t.Errorf("exit code %d: %s%s", r.Code, out, r.Stderr)
	}
	t.Log(out)
}

// program is a package's tests as a static program.
func program(t *testing.T, pkg string) File {
	t.Helper()
	look(t, "../../"+pkg, "../../plug")
	out := filepath.Join(t.TempDir(), pkg)
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-ldflags", "-s -w", "-o", out, "../../"+pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the tests of %s: %v: %s", pkg, err, text)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return File{Path: "root/" + pkg + ".test", Mode: 0o755, Data: data}
}

// look has go test see what this test depends on, or it would take its last
// answer for this one.
func look(t *testing.T, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no sources in %s: %v", dir, err)
		}
		for _, f := range files {
			if _, err := os.Stat(f); err != nil {
				t.Fatal(err)
			}
		}
	}
}
