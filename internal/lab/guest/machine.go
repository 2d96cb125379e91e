package guest

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
)

// machine is all that QEMU must know. It is complete when the port is.
type machine struct {
	name, dir string
	memory    int // MiB
	image     string
	disk      string // empty for none
	nic       nic
	// incoming is where it waits for a guest that runs elsewhere; empty to boot.
	incoming string
}

// nic is the guest's interface, as its Neutron port says. Address and Gateway
// are for the case that nobody answers DHCP.
type nic struct {
	TAP     string       `json:"tap"`
	MAC     string       `json:"mac"`
	MTU     int          `json:"mtu"`
	Address netip.Prefix `json:"address"`
	Gateway netip.Addr   `json:"gateway"`
}

// argv starts the guest without KVM: TCG works everywhere, nested or not.
func (m machine) argv() []string {
	argv := []string{
		"qemu-system-x86_64", "-name", m.name, "-machine", "pc,accel=tcg,usb=off,vmport=off",
		"-cpu", "qemu64,+rdrand", "-smp", "1", "-m", fmt.Sprint(m.memory),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-chardev", "file,id=console,append=" + onOff(m.incoming != "") + ",path=" + m.console(), "-serial", "chardev:console",
		"-chardev", "socket,id=monitor,server=on,wait=off,path=" + m.monitor(), "-mon", "chardev=monitor,mode=control",
		"-kernel", m.image, "-initrd", m.initrd(), "-append", m.commandLine(),
		"-netdev", "tap,id=net0,script=no,downscript=no,vhost=off,vnet_hdr=off,ifname=" + m.nic.TAP,
		"-device", m.device(),
		"-device", fmt.Sprintf("virtio-serial-pci,max_ports=%d", channels+1),
	}
	if m.disk != "" {
		argv = append(argv,
			"-drive", "if=none,id=disk0,format=raw,cache=unsafe,file="+m.disk, "-device", "virtio-blk-pci,drive=disk0")
	}
	for i := range channels {
		argv = append(argv,
			"-chardev", fmt.Sprintf("socket,id=agent%d,server=on,wait=off,path=%s", i, socketPath(m.sockets(), i)),
			"-device", fmt.Sprintf("virtconsole,chardev=agent%d", i))
	}
	if m.incoming != "" {
		argv = append(argv, "-incoming", m.incoming)
	}
	return argv
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// device is the NIC without any offload: a packet whose checksum is left for
// the NIC to fill in passes OVS's userspace datapath as it is, and is dropped
// by whoever gets it. Nor does it filter VLANs: a migrated QEMU forgets which it
// is to let through, and in clouds vhost, which has no such filter, stands there.
func (m machine) device() string {
	off := []string{
		"csum", "gso", "guest_csum", "guest_tso4", "guest_tso6", "guest_ecn", "guest_ufo",
		"host_tso4", "host_tso6", "host_ecn", "host_ufo", "mrg_rxbuf", "ctrl_vlan",
	}
	return fmt.Sprintf("virtio-net-pci,netdev=net0,romfile=,mac=%s,host_mtu=%d,%s=off", m.nic.MAC, m.nic.MTU, strings.Join(off, "=off,"))
}

func (m machine) commandLine() string {
	words := []string{
		"console=ttyS0", "quiet", "panic=-1", "mitigations=off", "nokaslr", "tsc=reliable", "net.ifnames=0",
		"guest.name=" + m.name, fmt.Sprintf("guest.mtu=%d", m.nic.MTU),
	}
	if m.nic.Address.IsValid() {
		words = append(words, "guest.addr="+m.nic.Address.String())
	}
	if m.nic.Gateway.IsValid() {
		words = append(words, "guest.gateway="+m.nic.Gateway.String())
	}
	return strings.Join(words, " ")
}

func (m machine) initrd() string  { return filepath.Join(m.dir, "initramfs") }
func (m machine) console() string { return filepath.Join(m.dir, "console.log") }

// sockets is where QEMU listens. One that waits for a guest must not take those
// of the one where it still is.
func (m machine) sockets() string {
	if m.incoming != "" {
		return filepath.Join(m.dir, "next")
	}
	return m.dir
}

func (m machine) monitor() string { return filepath.Join(m.sockets(), "qmp.sock") }

// component runs the machine where enter leads; it is ready when the guest has
// its address.
func (c Config) component(m machine, enter func(argv ...string) []string) supervise.Component {
	return supervise.Component{
		Name: ComponentName(m.name),
		Argv: enter(m.argv()...),
		Ready: func(ctx context.Context) error {
			// one that is busy answers late; taken for dead, it would be started anew
			ctx, cancel := context.WithTimeout(ctx, 8*time.Second)
			defer cancel()
			r, err := c.Exec(ctx, m.name, []string{"test", "-e", "/run/address"}, nil)
			if err == nil && r.Code != 0 {
				err = fmt.Errorf("guest %s has no address yet", m.name)
			}
			return err
		},
	}
}

// ComponentName is what the supervisor calls a guest.
func ComponentName(name string) string { return "vm/" + name }
