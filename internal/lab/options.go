// Package lab runs a cloud on one machine: Kubernetes, OVN, OpenStack and Isthmus.
// It knows which components there are and what an operator can do with them. The
// packages below it know how each component is started. Read lab.go first.
package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/lab/host"
)

// Options describe a lab. Up saves them in the lab's directory, where later commands
// read them.
type Options struct {
	Dir string `json:"dir"` // all state
	// Underlay is the network between the nodes. Labs side by side need different
	// underlays and different directories.
	Underlay  netip.Prefix `json:"underlay"`
	Repo      string       `json:"repo"` // manifests and images
	KubeBin   string       `json:"kubeBin"`
	CacheDir  string       `json:"cacheDir"`
	Nodes     int          `json:"nodes"`
	VMs       int          `json:"vms"`
	OpenStack bool         `json:"openstack"`
	Octavia   bool         `json:"octavia"`
	Isthmus   bool         `json:"isthmus"`
	KubeProxy bool         `json:"kubeProxy"`
	Profile   string       `json:"profile"`
	// Fabric is the fabric of the pods' networks in profile Nested.
	Fabric string `json:"fabric,omitempty"`
	// Mixed makes one host a Kubernetes node as well, beside the virtual machines of
	// profile Nested.
	Mixed bool `json:"mixed,omitempty"`
}

// Dir is the default directory of a lab.
const Dir = host.DefaultDir

// DirEnv names the environment variable that overrides Dir.
const DirEnv = "ISTHMUS_LAB_DIR"

// SharedOVN is the profile in which Kubernetes nodes are chassis of the OVN that
// Neutron uses.
const SharedOVN = "shared-ovn"

// Neutron is the profile in which every pod has a Neutron port and every Service has
// an Octavia load balancer. It is also the name of that fabric.
const Neutron = "neutron"

// Nested is the profile in which Kubernetes nodes are virtual machines on trunk
// ports, one on each host. The hosts run only OpenStack and OVN.
const Nested = "nested"

// profiles are the profiles that Validate accepts.
var profiles = []string{SharedOVN, Neutron, Nested}

// OVN is the fabric in which Isthmus writes the northbound database itself. The other
// fabric is Neutron.
const OVN = "ovn"

// hasOutside reports whether the lab has a network outside the cloud, with a router to
// it from project k8s.
func (o Options) hasOutside() bool { return o.Profile == Neutron || o.Profile == Nested }

// neutronPods reports whether pods have Neutron ports.
func (o Options) neutronPods() bool {
	return o.Profile == Neutron || o.Profile == Nested && o.Fabric == Neutron
}

// Default returns the options of a complete lab.
func Default() Options {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = "/root/.cache"
	}
	o := Options{
		Dir: Dir, Underlay: netip.MustParsePrefix(host.DefaultUnderlay), CacheDir: filepath.Join(cache, "isthmus"), Repo: findRepo(),
		Nodes: 2, VMs: 1, OpenStack: true, Octavia: true, Isthmus: true, Profile: SharedOVN, Fabric: Neutron,
	}
	o.KubeBin = findKube(o.CacheDir)
	return o
}

// Validate returns all errors of o joined, or nil.
func (o Options) Validate() error {
	var errs []error
	if o.Nodes < 1 || o.Nodes > 20 {
		errs = append(errs, fmt.Errorf("--nodes %d: give 1 to 20", o.Nodes))
	}
	if !o.Underlay.Addr().Is4() || o.Underlay.Bits() != 24 || o.Underlay != o.Underlay.Masked() {
		errs = append(errs, fmt.Errorf("--underlay %s: give an IPv4 network with 24 bits, such as %s", o.Underlay, host.DefaultUnderlay))
	}
	if o.VMs < 0 || o.VMs > 0 && !o.OpenStack {
		errs = append(errs, fmt.Errorf("--vms %d: virtual machines need --openstack", o.VMs))
	}
	if !slices.Contains(profiles, o.Profile) {
		errs = append(errs, fmt.Errorf("--profile %q: there is %s", o.Profile, strings.Join(profiles, ", ")))
	}
	if o.hasOutside() && (!o.OpenStack || !o.Octavia) {
		errs = append(errs, fmt.Errorf("--profile %s: it needs --openstack and --octavia", o.Profile))
	}
	if o.Profile == Nested && o.Fabric != Neutron && o.Fabric != OVN {
		errs = append(errs, fmt.Errorf("--fabric %q: there is %s, %s", o.Fabric, Neutron, OVN))
	}
	if o.Mixed && o.Profile != Nested {
		errs = append(errs, fmt.Errorf("--mixed: it needs --profile %s, elsewhere all hosts are nodes", Nested))
	}
	// Down removes the directory: it must not be "/", "/run" or the like
	if !filepath.IsAbs(o.Dir) || strings.Count(filepath.Clean(o.Dir), "/") < 2 || len(o.Dir) > 40 {
		errs = append(errs, fmt.Errorf("--dir %q: give a directory of the lab's own, such as %s", o.Dir, Dir))
	}
	if o.Isthmus && o.Repo == "" {
		errs = append(errs, errors.New("--repo: not in the source tree, say where it is"))
	}
	return errors.Join(errs...)
}

func (o Options) site() host.Site { return host.Site{Dir: o.Dir, Underlay: o.Underlay} }

func (o Options) file() string { return filepath.Join(o.Dir, "lab.json") }

// Load reads the options of the lab in dir.
func Load(dir string) (Options, error) {
	text, err := os.ReadFile(Options{Dir: dir}.file())
	if errors.Is(err, fs.ErrNotExist) {
		return Options{}, fmt.Errorf("no lab in %s: isthmus-lab up makes one", dir)
	}
	if err != nil {
		return Options{}, err
	}
	o := Options{Underlay: netip.MustParsePrefix(host.DefaultUnderlay), Fabric: Neutron} // earlier releases did not save these
	if err := json.Unmarshal(text, &o); err != nil {
		return Options{}, fmt.Errorf("%s: %w", Options{Dir: dir}.file(), err)
	}
	return o, nil
}

func (o Options) save() error {
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(o, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.file(), append(text, '\n'), 0o644)
}

// findRepo returns the source tree above the working directory or above this program,
// or "" if there is none.
func findRepo() string {
	starts := []string{}
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	if self, err := os.Executable(); err == nil {
		starts = append(starts, self)
	}
	for _, dir := range starts {
		for ; dir != "/" && dir != "."; dir = filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(dir, "api/crds/crds.go")); err == nil {
				return dir
			}
		}
	}
	return ""
}

// findKube returns the directory with Kubernetes' programs: ISTHMUS_KUBE_BIN, or the
// newest that scripts/kubernetes.sh created.
func findKube(cache string) string {
	if dir := os.Getenv("ISTHMUS_KUBE_BIN"); dir != "" {
		return dir
	}
	dirs, _ := filepath.Glob(filepath.Join(cache, "kubernetes-v*"))
	if len(dirs) == 0 {
		return filepath.Join(cache, "kubernetes")
	}
	return slices.Max(dirs)
}
