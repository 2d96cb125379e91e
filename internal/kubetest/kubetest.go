// Package kubetest starts a real API server for tests: etcd and kube-apiserver on free
// loopback ports, by means of envtest, with the project's CRDs. It knows where the programs
// are, and does not know the tests.
package kubetest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/isthmus-cni/isthmus/api/crds"
)

// Version is the version of the API server that tests use.
const Version = "v1.36.3"

// Server is a running API server. Config has the administrator's credentials.
type Server struct {
	Config *rest.Config
	// CA is the file of the CA certificate that signs the server's certificate.
	CA  string
	dir string
	env envtest.Environment
}

// Start starts etcd and the API server and returns when the server serves the project's
// kinds. The caller must call Stop unless Start errs.
func Start() (_ *Server, err error) {
	s := &Server{}
	if s.dir, err = os.MkdirTemp("", "isthmus-kubetest-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop())
		}
	}()
	if err := s.configure(); err != nil {
		return nil, err
	}
	if s.Config, err = s.env.Start(); err != nil {
		return nil, fmt.Errorf("start an API server: %w", err)
	}
	s.Config.QPS = -1 // no limit
	s.CA = filepath.Join(s.dir, "ca.crt")
	return s, os.WriteFile(s.CA, s.Config.CAData, 0o600)
}

// Stop stops both programs and removes their files.
func (s *Server) Stop() error { return errors.Join(s.env.Stop(), os.RemoveAll(s.dir)) }

func (s *Server) configure() (err error) {
	s.env.ControlPlaneStartTimeout = time.Minute
	s.env.ControlPlane.Etcd = &envtest.Etcd{}
	if s.env.ControlPlane.Etcd.Path, err = program(s.dir, "etcd"); err != nil {
		return err
	}
	api := s.env.ControlPlane.GetAPIServer()
	if api.Path, err = program(s.dir, "kube-apiserver"); err != nil {
		return err
	}
	api.Configure().
		Set("service-cluster-ip-range", "10.96.0.0/16").
		Set("service-account-issuer", "https://kubernetes.default.svc")
	s.env.CRDInstallOptions.MaxTime = time.Minute
	s.env.CRDs, err = definitions()
	return err
}

// definitions returns the project's CRDs.
func definitions() ([]*apiextensions.CustomResourceDefinition, error) {
	files, err := fs.Glob(crds.FS, "*.yaml")
	if err != nil {
		return nil, err
	}
	var all []*apiextensions.CustomResourceDefinition
	for _, file := range files {
		text, err := crds.FS.ReadFile(file)
		if err != nil {
			return nil, err
		}
		crd := &apiextensions.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(text, crd); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, crd)
	}
	return all, nil
}

// program writes a script that runs the program name, and returns the script's path. With
// setpriv, the kernel kills the program when the thread that started it ends. envtest alone
// would leave its servers behind when a test binary is killed or panics.
func program(dir, name string) (string, error) {
	path, err := find(name)
	if err != nil {
		return "", err
	}
	script := fmt.Sprintf("#!/bin/sh\nexec setpriv --pdeathsig KILL '%s' \"$@\"\n", path)
	file := filepath.Join(dir, name)
	return file, os.WriteFile(file, []byte(script), 0o700)
}

// find returns the path of a program. It looks in ISTHMUS_KUBE_BIN, in envtest's
// KUBEBUILDER_ASSETS, in the cache of scripts/kubernetes.sh, and in PATH. It errs if the
// program is in none of them.
func find(name string) (string, error) {
	cache, _ := os.UserCacheDir() // no home directory: no cache
	for _, dir := range []string{
		os.Getenv("ISTHMUS_KUBE_BIN"), os.Getenv("KUBEBUILDER_ASSETS"),
		filepath.Join(cache, "isthmus", "kubernetes-"+Version),
	} {
		if path := filepath.Join(dir, name); dir != "" && isFile(path) {
			return path, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%w: `make packages kubernetes` installs it, or set ISTHMUS_KUBE_BIN", err)
	}
	return path, nil
}

func isFile(path string) bool {
	i, err := os.Stat(path)
	return err == nil && i.Mode().IsRegular()
}
