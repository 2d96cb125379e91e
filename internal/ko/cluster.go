package ko

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/isthmus-cni/isthmus/internal/settings"
)

// cluster returns a client of the cluster and the settings in it.
func (t *tool) cluster(ctx context.Context) (kubernetes.Interface, settings.Settings, error) {
	client, err := t.connect()
	if err != nil {
		return nil, settings.Settings{}, err
	}
	s, err := readSettings(ctx, client)
	return client, s, err
}

// errNoSettings means that this cluster has no settings of Isthmus.
var errNoSettings = errors.New("there is no ConfigMap " + settings.Namespace + "/" + settings.ConfigMap + " in this cluster: is Isthmus installed here, and is this the right context?")

// readSettings reads the settings in the cluster. It returns errNoSettings if the
// ConfigMap does not exist.
func readSettings(ctx context.Context, client kubernetes.Interface) (settings.Settings, error) {
	where := settings.Namespace + "/" + settings.ConfigMap
	m, err := client.CoreV1().ConfigMaps(settings.Namespace).Get(ctx, settings.ConfigMap, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return settings.Settings{}, errNoSettings
	}
	if err != nil {
		return settings.Settings{}, fmt.Errorf("read ConfigMap %s: %w", where, err)
	}
	text, ok := m.Data[settings.Key]
	if !ok {
		return settings.Settings{}, fmt.Errorf("ConfigMap %s has no key %s", where, settings.Key)
	}
	return settings.Parse([]byte(text))
}
