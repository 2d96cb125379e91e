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

// machine has what QEMU's command line depends on.
type machine struct {
	name, dir string
	memory    int // MiB
	image     string
	disk      string // empty for none
	nic       nic
	// incoming is the address at which QEMU waits for a migrated guest; empty means
	// that QEMU boots.
	incoming string
}

// nic is the guest's interface, from its Neutron port. The guest uses Address and Gateway
// only if no DHCP server answers.
type nic struct {
	TAP     string       `json:"tap"`
	MAC     string       `json:"mac"`
	MTU     int          `json:"mtu"`
	Address netip.Prefix `json:"address"`
	Gateway netip.Addr   `json:"gateway"`
}

// argv returns QEMU's command line. It uses TCG instead of KVM because TCG works everywhere.
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

// device returns the NIC without offloads and without a VLAN filter. With checksum offload,
// OVS's userspace datapath would forward packets with incomplete checksums, which the
// receiver drops. With the filter, QEMU would forget the allowed VLANs in a migration.
// Clouds use vhost, which has no such filter.
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

// sockets returns the directory of QEMU's sockets. A waiting QEMU has a directory of its
// own, because the guest's present QEMU still uses the other.
func (m machine) sockets() string {
	if m.incoming != "" {
		return filepath.Join(m.dir, "next")
	}
	return m.dir
}

func (m machine) monitor() string { return filepath.Join(m.sockets(), "qmp.sock") }

// component returns the component that runs the machine on the node of enter. It is ready
// when the guest has its address.
func (c Config) component(m machine, enter func(argv ...string) []string) supervise.Component {
	return supervise.Component{
		Name: ComponentName(m.name),
		Argv: enter(m.argv()...),
		Ready: func(ctx context.Context) error {
			// a busy guest answers late; if it counted as dead, the supervisor would restart it
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

// ComponentName returns the name of a guest's component.
func ComponentName(name string) string { return "vm/" + name }
