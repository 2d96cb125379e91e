package offload

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netns"
)

func TestTxChecksumOff(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes a network namespace")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // the thread ends with the goroutine, the namespace with the thread
		ns, err := netns.New()
		if err != nil {
			t.Error(err)
			return
		}
		defer ns.Close()
		run(t, "ip", "tuntap", "add", "isg-tap", "mode", "tap")
		run(t, "ip", "link", "add", "isg-veth", "type", "veth", "peer", "name", "isg-peer")
		for _, name := range []string{"isg-tap", "isg-veth"} {
			if got := run(t, "ethtool", "-k", name); name == "isg-veth" && !strings.Contains(got, "tx-checksumming: on") {
				t.Errorf("%s: offload is off from the start, nothing is shown", name)
			}
			for range 2 {
				if err := TxChecksumOff(name); err != nil {
					t.Error(err)
				}
			}
			if got := run(t, "ethtool", "-k", name); !strings.Contains(got, "tx-checksumming: off") {
				t.Errorf("%s: %s", name, got)
			}
		}
		if err := TxChecksumOff("isg-none"); err == nil {
			t.Error("no error for an interface that is not there")
		}
	}()
	<-done
}

func run(t *testing.T, argv ...string) string {
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %v: %s", argv, err, out)
	}
	return string(out)
}
