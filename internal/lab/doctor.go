package lab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Finding is the result of one check of the machine.
type Finding struct {
	What  string
	Wrong string // empty if the check passed
	Mend  string // the command that repairs it; may be empty
}

// programsNeeded has pairs of a program and the Debian package that installs it.
var programsNeeded = [][2]string{
	{"ovn-northd", "ovn-central"},
	{"ovn-controller", "ovn-host"},
	{"ovs-vswitchd", "openvswitch-switch"},
	{"ip", "iproute2"},
	{"ethtool", "ethtool"},
	{"nft", "nftables"},
	{"conntrack", "conntrack"},
	{"nsenter", "util-linux"},
	{"busybox", "busybox-static"},
	{"etcd", "etcd-server"},
	{"containerd", "containerd"},
	{"runc", "runc"},
	{"/usr/lib/cni/loopback", "containernetworking-plugins"},
}

var openstackNeeded = [][2]string{
	{"keystone-manage", "python3-keystone"},
	{"neutron-server", "python3-neutron"},
	{"octavia-driver-agent", "python3-octavia"},
	{"openstack", "python3-openstackclient"},
	{"mariadbd", "mariadb-server-core"},
	{"mariadb", "mariadb-client-core"},
	{"uwsgi", "uwsgi-core"},
	{"/usr/lib/uwsgi/plugins/python3_plugin.so", "uwsgi-plugin-python3"},
	{"qemu-system-x86_64", "qemu-system-x86"},
	{"cpio", "cpio"},
	{"mke2fs", "e2fsprogs"},
}

// Doctor prints every finding, with the command that repairs it. It errs if a
// check failed.
func (l *Lab) Doctor() error {
	wrong := 0
	for _, f := range l.Findings() {
		if f.Wrong == "" {
			fmt.Fprintf(l.Out, "✓ %s\n", f.What)
			continue
		}
		wrong++
		fmt.Fprintf(l.Out, "✗ %s: %s\n", f.What, f.Wrong)
		if f.Mend != "" {
			fmt.Fprintf(l.Out, "    %s\n", f.Mend)
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d things are wrong", wrong)
	}
	return nil
}

// Findings checks the machine and changes nothing.
func (l *Lab) Findings() []Finding { return doctor{l.layout}.findings() }

// doctor checks whether the machine can run the lab.
type doctor struct{ layout }

func (d doctor) findings() []Finding {
	found := []Finding{d.rootFinding(), d.packagesFinding(), d.kubeFinding(), d.imagesFinding(), cgroupFinding()}
	return append(found, d.portFindings()...)
}

func (d doctor) rootFinding() Finding {
	f := Finding{What: "runs as root"}
	if os.Geteuid() != 0 {
		f.Wrong, f.Mend = "the lab makes namespaces and bridges", "sudo isthmus-lab doctor"
	}
	return f
}

func (d doctor) packagesFinding() Finding {
	f := Finding{What: "packages"}
	needed := programsNeeded
	if d.OpenStack {
		needed = append(slices.Clip(needed), openstackNeeded...)
	}
	var missing []string
	for _, n := range needed {
		if _, err := exec.LookPath(n[0]); err != nil && !isFile(n[0]) {
			missing = append(missing, n[1])
		}
	}
	if len(missing) > 0 {
		f.Wrong = "missing: " + strings.Join(missing, " ")
		f.Mend = "apt-get install -y --no-install-recommends " + strings.Join(missing, " ")
	}
	return f
}

func (d doctor) kubeFinding() Finding {
	f := Finding{What: "Kubernetes' programs in " + d.KubeBin}
	for _, p := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl"} {
		if !isFile(filepath.Join(d.KubeBin, p)) {
			f.Wrong, f.Mend = p+" is not there", filepath.Join(d.Repo, "scripts/kubernetes.sh")
		}
	}
	return f
}

func (d doctor) imagesFinding() Finding {
	f := Finding{What: "images in " + filepath.Join(d.Repo, "bin")}
	for _, tar := range []string{"pause.tar", "isthmus-tools.tar", "isthmus.tar"} {
		if !isFile(filepath.Join(d.Repo, "bin", tar)) {
			f.Wrong, f.Mend = tar+" is not there", "make -C "+d.Repo+" build"
		}
	}
	if d.neutronPods() && !isFile(filepath.Join(d.Repo, "bin", coreDNSTar)) {
		f.Wrong, f.Mend = coreDNSTar+" is not there", "make -C "+d.Repo+" coredns PROFILE="+Neutron
	}
	return f
}

func cgroupFinding() Finding {
	f := Finding{What: "cgroups"}
	if !isFile("/sys/fs/cgroup/cgroup.controllers") && !isFile("/sys/fs/cgroup/memory/cgroup.procs") {
		f.Wrong, f.Mend = "not mounted", "mount -t cgroup2 none /sys/fs/cgroup"
	}
	return f
}

// portFindings checks that the lab's ports are free and that no links of an
// earlier lab are left. It returns nil if the lab exists. It checks the loopback
// ports only: the lab's own address does not exist yet.
func (d doctor) portFindings() []Finding {
	if _, err := os.Stat(d.file()); err == nil {
		return nil
	}
	var found []Finding
	for _, address := range d.cluster().Private() {
		f := Finding{What: "port " + address}
		listener, err := net.Listen("tcp", address)
		if err != nil {
			f.Wrong, f.Mend = err.Error(), "ss -tlnp | grep "+address
		} else {
			listener.Close()
		}
		found = append(found, f)
	}
	if links, err := d.site().Links(); err != nil || len(links) > 0 {
		found = append(found, Finding{
			What: "links", Mend: "isthmus-lab down" + d.dirFlag(),
			Wrong: errors.Join(err, fmt.Errorf("left over: %s", strings.Join(links, " "))).Error(),
		})
	}
	return found
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}
