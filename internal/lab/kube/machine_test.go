package kube

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/isthmus-cni/isthmus/internal/lab/host"
)

// A recreated machine may have another address. Its certificate must name that address,
// or the API server would refuse the kubelet.
func TestAMachinesCertificateNamesItsAddresses(t *testing.T) {
	c := Cluster{Dir: t.TempDir(), Site: host.Site{Dir: "/run/x", Underlay: netip.MustParsePrefix("172.31.1.0/24")}}
	join := func(address string) map[string][]byte {
		files, err := c.Joining(Machine{Name: "worker1", Provider: "openstack:///1", Addresses: []netip.Addr{netip.MustParseAddr(address)}})
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	first, same, other := join("10.0.0.5"), join("10.0.0.5"), join("10.0.0.6")
	if string(first["server.crt"]) != string(same["server.crt"]) {
		t.Error("a certificate that fits was made anew")
	}
	if string(first["server.crt"]) == string(other["server.crt"]) {
		t.Error("the certificate does not name the new address")
	}
	for file, want := range map[string]string{
		"kubelet.yaml": "providerID: openstack:///1", "kubelet.kubeconfig": "https://172.31.1.1:6443", "ca.crt": "BEGIN CERTIFICATE",
	} {
		if !strings.Contains(string(first[file]), want) {
			t.Errorf("%s does not say %q", file, want)
		}
	}
}
