// Package kube knows how the lab runs Kubernetes: its certificates, a control plane on the
// machine, and containerd and a kubelet on each node. All programs are the original ones.
// It does not know the pods' network.
package kube

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/isthmus-cni/isthmus/internal/lab/host"
	"github.com/isthmus-cni/isthmus/internal/lab/ovn"
	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
)

// Cluster is one Kubernetes cluster.
type Cluster struct {
	Dir   string // certificates, kubeconfigs, etcd's data
	Bin   string // Kubernetes' programs
	Nodes []host.Node
	Site  host.Site
	Proxy bool // run kube-proxy on the nodes
	// Accounts are service accounts of kube-system that get a kubeconfig, for
	// programs outside the cluster.
	Accounts []string
}

// Names of the components that other packages need.
const (
	APIServer  = "kube-apiserver"
	Controller = "kube-controller-manager"
	Scheduler  = "kube-scheduler"
)

// ServiceCIDR is the network of cluster IPs. The API server has the first.
const ServiceCIDR = "10.96.0.0/16"

// ClusterDNS is the pods' name server, even if no DNS Service has this address.
const ClusterDNS = "10.96.0.10"

// The control plane's ports on Loopback.
const (
	etcdClientPort = "12379"
	etcdPeerPort   = "12380"
	controllerPort = "10257"
	schedulerPort  = "10259"
)

// Server returns the API server's address, as host:port.
func (c Cluster) Server() string { return c.Site.Gateway().Addr().String() + ":6443" }

func (c Cluster) loopback(port string) string {
	return net.JoinHostPort(c.Site.Loopback().String(), port)
}

// Private returns the addresses, as host:port, that only the machine itself can reach.
func (c Cluster) Private() []string {
	return []string{c.loopback(etcdClientPort), c.loopback(etcdPeerPort), c.loopback(controllerPort), c.loopback(schedulerPort)}
}

// Kubeconfig returns the path of the administrator's kubeconfig.
func (c Cluster) Kubeconfig() string { return c.kubeconfig("admin") }

// AccountKubeconfig returns the path of the kubeconfig of one of Accounts.
func (c Cluster) AccountKubeconfig(account string) string { return c.kubeconfig(account) }

// Kubectl returns a kubectl command line of the administrator.
func (c Cluster) Kubectl(args ...string) []string {
	return append([]string{filepath.Join(c.Bin, "kubectl"), "--kubeconfig=" + c.Kubeconfig()}, args...)
}

func (c Cluster) kubeconfig(user string) string { return filepath.Join(c.Dir, user+".kubeconfig") }

func (c Cluster) pki(file string) string { return filepath.Join(c.Dir, "pki", file) }

// Components returns the components of the control plane and of the nodes.
func (c Cluster) Components() []supervise.Component {
	parts := []supervise.Component{
		{Name: "kube-pki", Do: c.credentials},
		c.etcd(), c.apiServer(), c.controllerManager(), c.scheduler(),
	}
	for _, n := range c.Nodes {
		parts = append(parts, c.containerd(n), c.kubelet(n))
		if c.Proxy {
			parts = append(parts, c.proxy(n))
		}
	}
	return parts
}

func (c Cluster) etcd() supervise.Component {
	client, peer := "http://"+c.loopback(etcdClientPort), "http://"+c.loopback(etcdPeerPort)
	return supervise.Component{
		Name: "etcd",
		Argv: []string{
			"etcd", "--data-dir=" + filepath.Join(c.Dir, "etcd"), "--unsafe-no-fsync",
			"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
			"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
			"--initial-cluster=default=" + peer, "--log-level=warn",
		},
		Prepare: func(context.Context) error { return os.MkdirAll(filepath.Join(c.Dir, "etcd"), 0o700) },
		Ready:   Serves(client + "/health"),
	}
}

func (c Cluster) apiServer() supervise.Component {
	return supervise.Component{
		Name:  APIServer,
		Needs: []string{"etcd", "kube-pki", ovn.Network},
		Argv: []string{
			filepath.Join(c.Bin, APIServer),
			"--etcd-servers=http://" + c.loopback(etcdClientPort),
			"--bind-address=" + c.Site.Gateway().Addr().String(), "--secure-port=6443",
			"--advertise-address=" + c.Site.Gateway().Addr().String(),
			"--service-cluster-ip-range=" + ServiceCIDR,
			"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
			"--allow-privileged",
			"--client-ca-file=" + c.pki("ca.crt"),
			"--tls-cert-file=" + c.pki("apiserver.crt"), "--tls-private-key-file=" + c.pki("apiserver.key"),
			"--kubelet-certificate-authority=" + c.pki("ca.crt"),
			"--kubelet-client-certificate=" + c.pki("apiserver-kubelet.crt"),
			"--kubelet-client-key=" + c.pki("apiserver-kubelet.key"),
			"--kubelet-preferred-address-types=ExternalIP,InternalIP",
			"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
			"--service-account-key-file=" + c.pki("service-accounts.key"),
			"--service-account-signing-key-file=" + c.pki("service-accounts.key"),
		},
		Ready: Serves("https://" + c.Server() + "/readyz"),
	}
}

func (c Cluster) controllerManager() supervise.Component {
	kubeconfig := c.kubeconfig("controller-manager")
	return supervise.Component{
		Name:  Controller,
		Needs: []string{APIServer},
		Argv: []string{
			filepath.Join(c.Bin, Controller),
			"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
			"--bind-address=" + c.Site.Loopback().String(), "--leader-elect=false",
			"--use-service-account-credentials",
			"--service-account-private-key-file=" + c.pki("service-accounts.key"),
			"--root-ca-file=" + c.pki("ca.crt"),
			"--cluster-signing-cert-file=" + c.pki("ca.crt"), "--cluster-signing-key-file=" + c.pki("ca.key"),
		},
		Ready: Serves("https://" + c.loopback(controllerPort) + "/healthz"),
	}
}

func (c Cluster) scheduler() supervise.Component {
	kubeconfig := c.kubeconfig("scheduler")
	return supervise.Component{
		Name:  Scheduler,
		Needs: []string{APIServer},
		Argv: []string{
			filepath.Join(c.Bin, Scheduler),
			"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
			"--bind-address=" + c.Site.Loopback().String(), "--leader-elect=false",
		},
		Ready: Serves("https://" + c.loopback(schedulerPort) + "/healthz"),
	}
}

// credentials creates all certificates and kubeconfigs, as far as they are missing.
func (c Cluster) credentials(context.Context) error {
	a, err := openAuthority(filepath.Join(c.Dir, "pki"), time.Now())
	if err != nil {
		return fmt.Errorf("certificate authority: %w", err)
	}
	if _, err := a.readKey("service-accounts"); err != nil {
		return err
	}
	for _, id := range c.servers() {
		if err := a.issue(id); err != nil {
			return err
		}
	}
	for _, id := range c.users() {
		if err := a.issue(id); err != nil {
			return err
		}
		if err := c.writeKubeconfig(a, id.file); err != nil {
			return err
		}
	}
	return nil
}

func (c Cluster) servers() []identity {
	ids := []identity{{file: "apiserver", name: "kube-apiserver", hosts: []string{
		c.Site.Gateway().Addr().String(), "127.0.0.1", "10.96.0.1", "localhost",
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
	}}, {file: "apiserver-kubelet", name: "kube-apiserver-kubelet-client", groups: []string{"system:masters"}}}
	for _, n := range c.Nodes {
		ids = append(ids, serverOf(n.Name, n.Addr.Addr()))
	}
	return ids
}

// users returns the identities that have a kubeconfig. The kubeconfig has the name of the
// certificate's file.
func (c Cluster) users() []identity {
	ids := []identity{
		{file: "admin", name: "kubernetes-admin", groups: []string{"system:masters"}},
		{file: "controller-manager", name: "system:kube-controller-manager"},
		{file: "scheduler", name: "system:kube-scheduler"},
		{file: "proxy", name: "system:kube-proxy"},
	}
	for _, account := range c.Accounts {
		ids = append(ids, identity{file: account, name: "system:serviceaccount:kube-system:" + account})
	}
	for _, n := range c.Nodes {
		ids = append(ids, userOf(n.Name))
	}
	return ids
}

// writeKubeconfig writes a kubeconfig that contains the certificates and the key, so that
// it can be copied to another machine.
func (c Cluster) writeKubeconfig(a *authority, user string) error {
	data := map[string][]byte{}
	for _, file := range []string{a.crt("ca"), a.crt(user), a.keyFile(user)} {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		data[file] = text
	}
	type object = map[string]any
	text, err := yaml.Marshal(object{
		"apiVersion": "v1", "kind": "Config", "current-context": "lab",
		"clusters": []object{{"name": "lab", "cluster": object{
			"server": "https://" + c.Server(), "certificate-authority-data": data[a.crt("ca")],
		}}},
		"users": []object{{"name": user, "user": object{
			"client-certificate-data": data[a.crt(user)], "client-key-data": data[a.keyFile(user)],
		}}},
		"contexts": []object{{"name": "lab", "context": object{"cluster": "lab", "user": user}}},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(c.kubeconfig(user), text, 0o600)
}

// Serves returns a Ready that errs unless url answers 200. It does not verify the server's
// certificate.
func Serves(url string) func(context.Context) error {
	client := &http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
	}
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s", url, response.Status)
		}
		return nil
	}
}
