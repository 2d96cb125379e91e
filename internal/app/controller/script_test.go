package controller

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rogpeppe/go-internal/txtar"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/isthmus-cni/isthmus/internal/kubetest"
)

// The scripts test the program as a process of its own, with a real API server and
// a real ovsdb-server. The process is always killed, never stopped. Vpcs and
// Subnets have no namespace, so only one script at a time can use an API server.
// There are two API servers, for two scripts in parallel.

// inChild is the environment variable that makes the test binary run the program.
const inChild = "ISTHMUS_TEST_CONTROLLER"

// apiservers holds the API servers that no test is using.
var apiservers = make(chan *kubetest.Server, 2)

func TestMain(m *testing.M) {
	if os.Getenv(inChild) != "" {
		os.Exit(Main(os.Args[1:], os.Getenv))
	}
	os.Exit(withServers(m))
}

func withServers(m *testing.M) int {
	log.SetLogger(logr.Discard())
	for range cap(apiservers) {
		server, err := kubetest.Start()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = server.Stop() }()
		apiservers <- server
	}
	return m.Run()
}

func TestScripts(t *testing.T) {
	t.Parallel()
	runScripts(t, "testdata")
}

// The result of a script is the same if the controller is killed and started
// again after each command.
func TestScriptsWithRestarts(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	t.Parallel()
	dir := t.TempDir()
	for _, script := range scripts(t, "testdata") {
		a, err := txtar.ParseFile(script)
		if err != nil {
			t.Fatal(err)
		}
		a.Comment = withRestarts(a.Comment)
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(script)), txtar.Format(a), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	runScripts(t, dir)
}

// withRestarts inserts a restart of the controller after each command, except
// from the one before "away" until right before "back": a controller that starts
// without Neutron does not know the pools. The command before "away" shows that
// the controller has read them.
func withRestarts(script []byte) []byte {
	var b strings.Builder
	restart, away := false, false
	for line := range strings.Lines(string(script)) {
		text := strings.TrimSpace(line)
		if text != "" && text[0] != '#' {
			away = text == "away" || away && text != "back"
			if restart && !away {
				b.WriteString("restart\n")
			}
			restart = true
		}
		b.WriteString(line)
	}
	return []byte(b.String() + "restart\n")
}

func runScripts(t *testing.T, dir string) {
	t.Helper()
	for _, f := range scripts(t, dir) {
		t.Run(filepath.Base(f), func(t *testing.T) {
			t.Parallel()
			runScript(t, f)
		})
	}
}

func scripts(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts in %s: %v", dir, err)
	}
	return files
}

func runScript(t *testing.T, file string) {
	testscript.Run(t, testscript.Params{
		Files: []string{file},
		Setup: func(e *testscript.Env) error {
			w, err := newWorld(e)
			e.Values[worldKey{}] = w
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start": command(0, (*world).start), "halt": command(0, (*world).stop), "restart": command(0, (*world).restart),
			"apply": command(1, (*world).apply), "delete": command(2, (*world).delete),
			"bind": command(2, (*world).bind), "phase": command(2, (*world).phase), "scale": command(2, (*world).scale),
			"nbctl": command(1, (*world).nbctl), "neutron": command(0, (*world).neutron),
			"nb": command(3, (*world).nb), "kube": command(3, (*world).kube), "event": command(2, (*world).event),
			"cloud": command(0, (*world).openstack), "away": command(0, (*world).away), "back": command(0, (*world).back),
			"balancers": command(3, (*world).balancers), "spoil": command(2, (*world).spoil),
			"names": command(2, (*world).names), "things": command(3, (*world).things), "foreign": command(2, (*world).foreign), "unmake": command(2, (*world).unmake),
			"settings": command(1, (*world).settings), "quota": command(2, (*world).quota), "end": command(1, (*world).end), "tenant": command(2, (*world).tenant),
			"members": command(1, (*world).members), "rules": command(2, (*world).rules),
			"group": command(1, (*world).group), "full": command(0, (*world).full),
			"pool": command(1, (*world).pool), "pooldo": command(1, (*world).poolDo),
			"fail": command(3, (*world).fail), "lose": command(2, (*world).lose), "hold": command(2, (*world).hold),
			"happens": command(0, (*world).happens), "heal": command(0, (*world).heal),
			"login": command(1, (*world).login), "correct": command(0, (*world).correct), "balancer-quota": command(1, (*world).balancerQuota),
			"vanish": command(2, (*world).vanish), "address": command(2, (*world).address), "tagged": command(1, (*world).tagged), "subport": command(2, (*world).subport),
			"machine": command(2, (*world).machine), "behind": command(2, (*world).behind), "claimed": command(1, (*world).claimed),
			"status": command(3, (*world).status), "broken": command(1, (*world).broken), "slow": command(1, (*world).slow),
			"note": command(2, (*world).note), "noted": command(0, (*world).asNoted), "bound": command(0, (*world).bound), "run": command(1, (*world).run),
			"snapshot": command(0, (*world).snapshot), "unchanged": command(0, (*world).unchanged), "same": command(0, (*world).same),
		},
	})
}

type worldKey struct{}

func command(least int, do func(*world, []string) error) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		w := ts.Value(worldKey{}).(*world)
		w.ts = ts
		if len(args) < least {
			ts.Fatalf("needs %d arguments", least)
		}
		if err := do(w, args); (err != nil) != neg {
			ts.Fatalf("%v\n%s", err, w.logTail())
		}
	}
}

// eventually polls until the answer is the wanted one. A test gets no event when
// the controller is done.
func eventually(want string, ask func() (string, error)) error {
	deadline := time.Now().Add(time.Minute)
	for {
		got, err := ask()
		if err == nil && got == want {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(err, fmt.Errorf("want:\n%s\ngot:\n%s", want, got))
		}
		time.Sleep(20 * time.Millisecond)
	}
}
