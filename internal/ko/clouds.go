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

// The Secret with the clouds.yaml of the cluster's own OpenStack user.
const (
	cloudsSecret = "isthmus-openstack"
	cloudsKey    = "clouds.yaml"
)

func qualified(name string) string { return settings.Namespace + "/" + name }

// cloudName is the name of a cloud, with its credentials, and the path of the clouds.yaml
// that has it.
type cloudName struct{ name, file string }

// cloudOf completes the flags: from the environment and the files that OpenStack's own
// client reads, or else from the cluster. The caller calls done when it no longer needs
// the file. done is never nil.
func (t *tool) cloudOf(ctx context.Context, flags cloudName) (name, file string, done func(), err error) {
	name = cmp.Or(flags.name, t.getenv("OS_CLOUD"))
	file = cmp.Or(flags.file, t.getenv("OS_CLIENT_CONFIG_FILE"))
	if file == "" && name != "" {
		file = t.defaultFile()
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

// defaultFile returns the path of the clouds.yaml that OpenStack's own client would read,
// empty if there is none.
func (t *tool) defaultFile() string {
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

// cloudOfCluster returns the cloud of the cluster's own controller. It writes the
// clouds.yaml from the Secret into a file that done deletes.
func (t *tool) cloudOfCluster(ctx context.Context, name string) (_, file string, done func(), err error) {
	done = func() {}
	withHint := func(err error) error {
		return fmt.Errorf("%w; or say who you are to OpenStack: --cloud and --clouds-file", err)
	}
	client, s, err := t.cluster(ctx)
	if err != nil {
		return "", "", done, withHint(err)
	}
	if name == "" && s.Neutron != nil {
		name = s.Neutron.Cloud
	}
	secret, err := client.CoreV1().Secrets(settings.Namespace).Get(ctx, cloudsSecret, metav1.GetOptions{})
	if err != nil {
		return "", "", done, withHint(fmt.Errorf("read Secret %s: %w", qualified(cloudsSecret), err))
	}
	text, has := secret.Data[cloudsKey]
	if !has {
		return "", "", done, withHint(fmt.Errorf("there is no key %s in Secret %s", cloudsKey, qualified(cloudsSecret)))
	}
	dir, err := os.MkdirTemp("", "kubectl-ko-") // readable by its owner only
	if err != nil {
		return "", "", done, err
	}
	done = func() { _ = os.RemoveAll(dir) }
	file = filepath.Join(dir, cloudsKey)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		done()
		return "", "", func() {}, errors.Join(errors.New("write the cluster's clouds.yaml into a temporary file"), err)
	}
	return name, file, done, nil
}
