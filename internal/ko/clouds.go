package ko

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/isthmus-cni/isthmus/internal/settings"
)

// The Secret of the cluster's own user of OpenStack.
const (
	cloudsSecret = "isthmus-openstack"
	cloudsKey    = "clouds.yaml"
)

func where(name string) string { return settings.Namespace + "/" + name }

// cloudName is who one is to OpenStack: a name in a clouds.yaml.
type cloudName struct{ name, file string }

// cloudOf finds what was not said: in the environment and where OpenStack's own
// client looks, or in the cluster. Done must be called when the file is not
// needed any more.
func (t *tool) cloudOf(ctx context.Context, said cloudName) (name, file string, done func(), err error) {
	name = cmp.Or(said.name, t.getenv("OS_CLOUD"))
	file = cmp.Or(said.file, t.getenv("OS_CLIENT_CONFIG_FILE"))
	if file == "" && name != "" {
		file = t.usualFile()
	}
	done = func() {}
	if file == "" {
		name, file, done, err = t.cloudOfCluster(ctx, name)
	}
	if err == nil && name == "" {
		err = fmt.Errorf("which cloud of %s? Say --cloud, or set OS_CLOUD", file)
	}
	return name, file, done, err
}

// usualFile is the clouds.yaml that OpenStack's own client would take; empty
// if there is none.
func (t *tool) usualFile() string {
	config := cmp.Or(t.getenv("XDG_CONFIG_HOME"), filepath.Join(t.getenv("HOME"), ".config"))
	for _, dir := range []string{".", filepath.Join(config, "openstack"), "/etc/openstack"} {
		if path := filepath.Join(dir, cloudsKey); isFile(path) {
			return path
		}
	}
	return ""
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// cloudOfCluster is who the cluster's own controller is.
func (t *tool) cloudOfCluster(ctx context.Context, name string) (_, file string, done func(), err error) {
	done = func() {}
	orSay := func(err error) error {
		return fmt.Errorf("%w; or say who you are to OpenStack: --cloud and --clouds-file", err)
	}
	client, s, err := t.cluster(ctx)
	if err != nil {
		return "", "", done, orSay(err)
	}
	if name == "" && s.Neutron != nil {
		name = s.Neutron.Cloud
	}
	secret, err := client.CoreV1().Secrets(settings.Namespace).Get(ctx, cloudsSecret, metav1.GetOptions{})
	if err != nil {
		return "", "", done, orSay(fmt.Errorf("read Secret %s: %w", where(cloudsSecret), err))
	}
	text, has := secret.Data[cloudsKey]
	if !has {
		return "", "", done, orSay(fmt.Errorf("Secret %s has no key %s", where(cloudsSecret), cloudsKey))
	}
	dir, err := os.MkdirTemp("", "kubectl-ko-") // for its owner only
	if err != nil {
		return "", "", done, err
	}
	done = func() { _ = os.RemoveAll(dir) }
	file = filepath.Join(dir, cloudsKey)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		done()
		return "", "", func() {}, errors.Join(errors.New("keep the cluster's clouds.yaml for a moment"), err)
	}
	return name, file, done, nil
}
