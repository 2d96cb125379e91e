package guest

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestVLAN runs the agent's tests of VLAN links in a guest, whose kernel supports them.
// This machine's kernel need not.
func TestVLAN(t *testing.T) {
	needMachine(t)
	c, enter := bootConfig(t)
	dev := nic{TAP: "tap0", MAC: "fa:16:3e:00:00:01", MTU: 1442, Address: netip.MustParsePrefix("10.77.0.99/24")}
	modules := []string{"veth", "nf_tables", "nft_chain_nat", "nft_ct", "nft_nat", "nft_masq", "nft_fib_inet"}
	m, err := c.build(t.Context(), Spec{Name: "b-boot", Memory: 512, Modules: modules, Files: []File{
		goProgram(t, "netdev", "test", "-c", "-tags", "vlan"), goProgram(t, "app/agent", "test", "-c", "-tags", "vlan"), goProgram(t, "../cmd/isthmus-cni", "build"),
	}}, dev)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Supervisor.Ensure(t.Context(), c.component(m, enter)); err != nil {
		console, _ := os.ReadFile(m.console())
		t.Fatalf("%v\n%s", err, console)
	}
	for _, program := range []string{"netdev", "agent"} {
		t.Run(program, func(t *testing.T) {
			run := []string{"env", "ISTHMUS_TEST_CNI=/root/isthmus-cni", "/root/" + program, "-test.v", "-test.run", "VLAN"}
			r, err := c.Exec(t.Context(), m.name, run, nil)
			if err != nil {
				t.Fatal(err)
			}
			out := string(r.Stdout)
			if r.Code != 0 || strings.Contains(out, "--- SKIP") || !strings.Contains(out, "--- PASS") {
				t.Errorf("exit code %d: %s%s", r.Code, out, r.Stderr)
			}
			t.Log(out)
		})
	}
}

// goProgram builds a static program from a package below internal. It uses the flags of
// make build, so that most packages are in the build cache.
func goProgram(t *testing.T, pkg string, verb ...string) File {
	t.Helper()
	dir, name := filepath.Join("../..", pkg), filepath.Base(pkg)
	look(t, dir, "../../plug", "../../netdev", "../../netdev/trunktest")
	out := filepath.Join(t.TempDir(), name)
	cmd := exec.CommandContext(t.Context(), "go", append(verb, "-trimpath", "-ldflags", "-s -w", "-o", out, dir)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v: %s", pkg, err, text)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return File{Path: "root/" + name, Mode: 0o755, Data: data}
}

// look stats the sources that this test depends on. Otherwise go test would not know of
// them and would reuse a cached result after a change.
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
