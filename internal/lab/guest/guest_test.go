package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
)

// TestBoot boots a guest on a tap in a namespace of its own and runs commands in it. The
// DHCP server is busybox.
func TestBoot(t *testing.T) {
	needMachine(t)
	c, enter := bootConfig(t)
	dev := nic{TAP: "tap0", MAC: "fa:16:3e:00:00:01", MTU: 1442, Address: netip.MustParsePrefix("10.77.0.99/24")}
	m, err := c.build(t.Context(), Spec{Name: "b-boot"}, dev)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := c.Supervisor.Ensure(t.Context(), c.component(m, enter)); err != nil {
		console, _ := os.ReadFile(m.console())
		t.Fatalf("%v\n%s", err, console)
	}
	t.Logf("ready after %s", time.Since(begin).Round(10*time.Millisecond))
	t.Run("address by DHCP", func(t *testing.T) {
		got := execute(t, c, "cat /run/address /etc/hostname /sys/class/net/eth0/mtu; ip -4 -o addr show eth0 | awk '{print $4}'")
		if diff := cmp.Diff("dhcp\nb-boot\n1442\n10.77.0.7/24\n", got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("packets", func(t *testing.T) {
		ping := enter(busybox, "ping", "-c", "1", "-W", "5", "10.77.0.7")
		if out, err := exec.CommandContext(t.Context(), ping[0], ping[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("exec", func(t *testing.T) { testExec(t, c) })
	t.Run("found again", func(t *testing.T) {
		before, _ := c.Supervisor.Running(ComponentName(m.name))
		if err := c.Supervisor.Ensure(t.Context(), c.component(m, enter)); err != nil {
			t.Fatal(err)
		}
		if after, _ := c.Supervisor.Running(ComponentName(m.name)); after != before {
			t.Errorf("process %v was replaced by %v", before, after)
		}
	})
	t.Run("migration", func(t *testing.T) { testMigration(t, c, m, enter) })
}

func testExec(t *testing.T, c Config) {
	input := bytes.Repeat([]byte("\x00\xff any byte\n"), 2000)
	r, err := c.Exec(t.Context(), "b-boot", []string{"sh", "-c", "cat; echo \"it's $1\" >&2; exit 3", "sh", "a  b"}, input)
	if err != nil {
		t.Fatal(err)
	}
	want := Result{Stdout: input, Stderr: []byte("it's a  b\n"), Code: 3}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Error(diff)
	}
	// commands run in parallel, and a command ends at its deadline
	long, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := c.Exec(long, "b-boot", []string{"sleep", "600"}, nil)
		ended <- err
	}()
	if got := execute(t, c, "echo beside"); got != "beside\n" {
		t.Errorf("got %q", got)
	}
	if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the command that was given up returned %v", err)
	}
}

func execute(t *testing.T, c Config, script string) string {
	t.Helper()
	r, err := c.Exec(t.Context(), "b-boot", []string{"sh", "-c", script}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Code != 0 {
		t.Fatalf("%s: exit code %d: %s", script, r.Code, r.Stderr)
	}
	return string(r.Stdout)
}

// needMachine skips the test on a machine that cannot run a guest. In CI it fails the test.
func needMachine(t *testing.T) {
	t.Helper()
	_, err := exec.LookPath("qemu-system-x86_64")
	switch {
	case os.Getuid() != 0:
		err = errors.New("not root")
	case err == nil:
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal(err)
	}
	t.Skip(err)
}

// bootConfig creates a namespace with a tap and a DHCP server. It returns a Config and the
// function that enters the namespace.
func bootConfig(t *testing.T) (Config, func(...string) []string) {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	//nolint:usetesting // a socket's path must be short
	dir, err := os.MkdirTemp("", "b-guest-")
	if err != nil {
		t.Fatal(err)
	}
	ns := filepath.Base(dir)
	s := &supervise.Supervisor{Dir: filepath.Join(dir, "pid"), LogDir: dir, Timeout: time.Minute}
	t.Cleanup(func() {
		if err := s.Down(context.WithoutCancel(t.Context()), 0); err != nil {
			t.Error(err)
		}
		_ = exec.Command("ip", "netns", "del", ns).Run()
		_ = os.RemoveAll(dir)
	})
	enter := func(argv ...string) []string { return append([]string{"nsenter", "--net=/run/netns/" + ns}, argv...) }
	run(t, "ip", "netns", "add", ns)
	for _, argv := range []string{
		"ip link set lo up", "ip tuntap add dev tap0 mode tap",
		"ip addr add 10.77.0.1/24 dev tap0", "ip link set tap0 up",
	} {
		run(t, enter(strings.Fields(argv)...)...)
	}
	conf := filepath.Join(dir, "udhcpd.conf")
	text := fmt.Sprintf("interface tap0\nstart 10.77.0.7\nend 10.77.0.7\nmax_leases 1\nlease_file %s/leases\nopt subnet 255.255.255.0\nopt mtu 1442\n", dir)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Ensure(t.Context(), supervise.Component{Name: "udhcpd", Argv: enter(busybox, "udhcpd", "-f", conf)}); err != nil {
		t.Fatal(err)
	}
	return Config{Dir: filepath.Join(dir, "vm"), CacheDir: filepath.Join(cache, "isthmus"), Supervisor: s}, enter
}

func run(t *testing.T, argv ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", argv, err, out)
	}
}

func TestArgv(t *testing.T) {
	m := machine{name: "vm1", dir: "/lab/vm/vm1", memory: 128, image: "/k", nic: nic{
		TAP: "tap12", MAC: "fa:16:3e:01:02:03", MTU: 1442,
		Address: netip.MustParsePrefix("192.168.1.61/24"), Gateway: netip.MustParseAddr("192.168.1.1"),
	}}
	got := strings.Join(m.argv(), " ")
	for _, want := range []string{
		"accel=tcg", "ifname=tap12", "mac=fa:16:3e:01:02:03,host_mtu=1442,", ",csum=off,", ",guest_csum=off,", ",ctrl_vlan=off",
		"guest.addr=192.168.1.61/24 guest.gateway=192.168.1.1", "path=/lab/vm/vm1/agent5.sock",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("argv lacks %q: %s", want, got)
		}
	}
	if strings.Contains(got, "kvm") {
		t.Errorf("argv asks for KVM: %s", got)
	}
}

func TestCpio(t *testing.T) {
	archive := cpio([]File{
		{"etc", fs.ModeDir | 0o755, nil},
		{"etc/a", 0o640, []byte("abc")},
		link("b", "etc/a"),
	})
	cmd := exec.CommandContext(t.Context(), busybox, "cpio", "-t", "-v")
	cmd.Stdin = bytes.NewReader(archive)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		got = append(got, f[0]+" "+strings.Join(f[5:], " "))
	}
	want := []string{"drwxr-xr-x etc", "-rw-r----- etc/a", "lrwxrwxrwx b -> etc/a"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff, string(out))
	}
}

func TestParseAnswer(t *testing.T) {
	for name, tc := range map[string]struct {
		fields []string
		want   Result
		fails  bool
	}{
		"all":        {[]string{"3", ".YQ==", ".Yg=="}, Result{[]byte("a"), []byte("b"), 3}, false},
		"silent":     {[]string{"0", ".", "."}, Result{[]byte{}, []byte{}, 0}, false},
		"too few":    {[]string{"0", "."}, Result{}, true},
		"no code":    {[]string{"x", ".", "."}, Result{}, true},
		"not base64": {[]string{"0", ".*", "."}, Result{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseAnswer(tc.fields)
			if (err != nil) != tc.fails {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); err == nil && diff != "" {
				t.Error(diff)
			}
		})
	}
}
