package openstack

// A throw-away cloud.
import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
)

func TestStandalone(t *testing.T) {
	dir := os.Getenv("B_CLOUD")
	if dir == "" {
		t.Skip("B_CLOUD names no directory")
	}
	os.MkdirAll(dir+"/ovn", 0o755)
	db := func(name string) supervise.Component {
		file := filepath.Join(dir, "ovn", name)
		return supervise.Component{Name: "ovn-" + name, Argv: []string{"ovsdb-server", "--no-chdir", "--remote=punix:" + file + ".sock", "--unixctl=" + file + ".ctl", file + ".db"},
			Prepare: func(context.Context) error {
				if exists(file + ".db") {
					return nil
				}
				return exec.Command("ovsdb-tool", "create", file+".db", "/usr/share/ovn/ovn-"+name+".ovsschema").Run()
			},
			Ready: func(context.Context) error {
				if exists(file + ".sock") {
					return nil
				}
				return fmt.Errorf("no socket")
			}}
	}
	cs := []supervise.Component{db("nb"), db("sb"), {Name: "ovn-northd", Needs: []string{"ovn-nb", "ovn-sb"}, Argv: []string{"ovn-northd", "--no-chdir", "--unixctl=" + dir + "/ovn/northd.ctl", "--ovnnb-db=unix:" + dir + "/ovn/nb.sock", "--ovnsb-db=unix:" + dir + "/ovn/sb.sock"}}}
	c := Config{Dir: dir + "/openstack", LogDir: dir + "/log", Bind: "127.0.0.1", NB: "unix:" + dir + "/ovn/nb.sock", SB: "unix:" + dir + "/ovn/sb.sock",
		CacheDir: "/root/.cache/isthmus", Needs: []string{"ovn-nb", "ovn-sb", "ovn-northd"}, Octavia: os.Getenv("B_OCTAVIA") != "",
		KeystonePort: 15000, NeutronPort: 19696, OctaviaPort: 19876}
	s := &supervise.Supervisor{Dir: dir + "/pid", LogDir: dir + "/log", Report: func(e supervise.Event) { t.Log(e.Name, e.State, e.Took.Round(10*time.Millisecond), e.Err) }}
	if os.Getenv("B_DOWN") != "" {
		if err := s.Down(t.Context(), 5*time.Second); err != nil {
			t.Fatal(err)
		}
		return
	}
	begin := time.Now()
	if err := s.Up(t.Context(), append(cs, Components(c)...)); err != nil {
		t.Fatal(err)
	}
	t.Log("up", time.Since(begin))
}
