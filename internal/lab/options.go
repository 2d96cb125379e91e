// Package lab is the one-machine cloud: it knows which components there are,
// and what an operator can do with them. What they are made of is known by
// the packages below it.
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

// Options say what a lab consists of. They are kept in its directory, so that
// later commands need not be told again.
type Options struct {
	Dir string `json:"dir"` // all state
	// Underlay is the network that joins the nodes; labs side by side need
	// different ones, as they need different directories.
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
	// Fabric is for profile Nested: what makes the pods' networks.
	Fabric string `json:"fabric,omitempty"`
	// Mixed makes a node of Kubernetes of one host, too, beside the virtual
	// machines of profile Nested.
	Mixed bool `json:"mixed,omitempty"`
}

// Dir is where a lab stands unless told otherwise.
const Dir = host.DefaultDir

// DirEnv names the environment variable that tells otherwise.
const DirEnv = "ISTHMUS_LAB_DIR"

// SharedOVN is the profile in which Kubernetes' nodes are chassis of the OVN
// that Neutron uses.
const SharedOVN = "shared-ovn"

// Neutron is the profile in which every pod is a Neutron port and every
// Service a load balancer of Octavia's.
const Neutron = "neutron"

// Nested is the profile in which Kubernetes' nodes are virtual machines on trunk
// ports, one on each host, and hosts know OpenStack and OVN only.
const Nested = "nested"

// profiles that Up knows.
var profiles = []string{SharedOVN, Neutron, Nested}

// OVN is the fabric in which we write the northbound database ourselves; the
// other is Neutron.
const OVN = "ovn"

// outside tells whether the cloud has an outside, and project k8s a network with
// a way there.
func (o Options) outside() bool { return o.Profile == Neutron || o.Profile == Nested }

// neutronPods tells whether pods are Neutron ports.
func (o Options) neutronPods() bool {
	return o.Profile == Neutron || o.Profile == Nested && o.Fabric == Neutron
}

// Default is a whole lab.
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

// Validate says everything that is wrong with o at once.
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
	if o.outside() && (!o.OpenStack || !o.Octavia) {
		errs = append(errs, fmt.Errorf("--profile %s: it needs --openstack and --octavia", o.Profile))
	}
	if o.Profile == Nested && o.Fabric != Neutron && o.Fabric != OVN {
		errs = append(errs, fmt.Errorf("--fabric %q: there is %s, %s", o.Fabric, Neutron, OVN))
	}
	if o.Mixed && o.Profile != Nested {
		errs = append(errs, fmt.Errorf("--mixed: it needs --profile %s, elsewhere all hosts are nodes", Nested))
	}
	// "/", "/run" and the like would be removed with the lab
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
	o := Options{Underlay: netip.MustParsePrefix(host.DefaultUnderlay), Fabric: Neutron} // a lab of an earlier release says none
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

// findRepo looks for the source tree around the working directory and around
// the program itself.
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

// findKube returns the directory with Kubernetes' programs: ISTHMUS_KUBE_BIN,
// or the newest that scripts/kubernetes.sh made.
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
