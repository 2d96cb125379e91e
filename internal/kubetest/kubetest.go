// Package kubetest gives a test a real API server: etcd and kube-apiserver on
// free loopback ports, started once for each test binary. It knows where the
// binaries may be and nothing of what is tested.
package kubetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
)

// Version of the API server that the project is tested against.
const Version = "v1.36.3"

// Server is a running API server of which everybody is the administrator.
type Server struct {
	Config *rest.Config
	// CA is the file with the server's certificate.
	CA  string
	dir string
	ran []*exec.Cmd
}

// Start starts etcd and the API server and returns when both are ready.
// The caller must call Stop, also after an error of its own.
func Start(ctx context.Context) (_ *Server, err error) {
	s := &Server{}
	if s.dir, err = os.MkdirTemp("", "isthmus-kubetest-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop())
		}
	}()
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	etcd := fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	if err := s.run("etcd", etcdArgs(s.dir, etcd, ports[1])); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(s.dir, "tokens.csv"), []byte("admin,admin,admin,system:masters\n"), 0o600); err != nil {
		return nil, err
	}
	if err := s.run("kube-apiserver", apiserverArgs(s.dir, etcd, ports[2])); err != nil {
		return nil, err
	}
	s.CA = filepath.Join(s.dir, "apiserver.crt")
	s.Config = &rest.Config{
		Host: fmt.Sprintf("https://127.0.0.1:%d", ports[2]), BearerToken: "admin",
		TLSClientConfig: rest.TLSClientConfig{Insecure: true}, QPS: -1,
	}
	return s, s.ready(ctx)
}

// Stop ends what Start started and removes its files.
func (s *Server) Stop() error {
	for i := len(s.ran) - 1; i >= 0; i-- {
		_ = s.ran[i].Process.Kill()
		_ = s.ran[i].Wait()
	}
	return os.RemoveAll(s.dir)
}

func etcdArgs(dir, client string, peer int) []string {
	return []string{
		"--data-dir=" + filepath.Join(dir, "etcd"), "--unsafe-no-fsync=true",
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		fmt.Sprintf("--listen-peer-urls=http://127.0.0.1:%d", peer),
	}
}

func apiserverArgs(dir, etcd string, port int) []string {
	return []string{
		"--etcd-servers=" + etcd, "--cert-dir=" + dir, fmt.Sprintf("--secure-port=%d", port),
		"--bind-address=127.0.0.1", "--service-cluster-ip-range=10.96.0.0/16",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + filepath.Join(dir, "apiserver.key"),
		"--service-account-signing-key-file=" + filepath.Join(dir, "apiserver.key"),
		"--token-auth-file=" + filepath.Join(dir, "tokens.csv"),
		"--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount",
	}
}

func (s *Server) run(name string, args []string) error {
	path, err := find(name)
	if err != nil {
		return err
	}
	if name == "kube-apiserver" {
		if err := makeKey(s.dir); err != nil {
			return err
		}
	}
	log, err := os.Create(filepath.Join(s.dir, name+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	// The servers end with the test binary, however that ends.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	s.ran = append(s.ran, cmd)
	return nil
}

// find looks where the lab keeps its binaries, then in PATH.
func find(name string) (string, error) {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(os.Getenv("HOME"), ".cache")
	}
	for _, dir := range []string{os.Getenv("ISTHMUS_KUBE_BIN"), filepath.Join(cache, "isthmus", "kubernetes-"+Version)} {
		if path := filepath.Join(dir, name); dir != "" && isFile(path) {
			return path, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%w: `make test` builds it, or set ISTHMUS_KUBE_BIN", err)
	}
	return path, nil
}

func isFile(path string) bool {
	i, err := os.Stat(path)
	return err == nil && i.Mode().IsRegular()
}

// ready asks until the API server says ok: it has no other way to tell.
func (s *Server) ready(ctx context.Context) error {
	client, err := rest.HTTPClientFor(s.Config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !answers(ctx, client, s.Config.Host+"/readyz") {
		select {
		case <-ctx.Done():
			return fmt.Errorf("kube-apiserver is not ready: %w\n%s", ctx.Err(), s.logTail())
		case <-tick.C:
		}
	}
	return nil
}

func answers(ctx context.Context, c *http.Client, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := c.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func (s *Server) logTail() string {
	text, _ := os.ReadFile(filepath.Join(s.dir, "kube-apiserver.log"))
	lines := strings.Split(string(text), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// freePorts asks the kernel for ports that nobody listens on now.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
