package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// serverName is in the certificate of every API server, whatever its address.
const serverName = "kubernetes.default.svc"

// restConfig returns the configuration for clients of the API server: from kubeconfig,
// or, if that is empty, with the pod's service account at the addresses in servers. It
// does not use the API server's Service, which works only after the daemons have made
// the network.
func restConfig(userAgent, kubeconfig string, servers []string) (*rest.Config, error) {
	c, err := credentials(kubeconfig, servers)
	if err != nil {
		return nil, err
	}
	c.UserAgent = userAgent
	return c, nil
}

func credentials(kubeconfig string, servers []string) (*rest.Config, error) {
	if kubeconfig != "" {
		return clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	c, err := rest.InClusterConfig()
	if err != nil {
		return nil, err
	}
	c.Host, c.Dial = "https://"+serverName, dialAny(servers)
	return c, nil
}

// dialAny returns a dialer that tries servers in turn until one answers. It ignores the
// address in its argument.
func dialAny(servers []string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		d := net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}
		var errs []error
		for _, address := range servers {
			conn, err := d.DialContext(ctx, network, address)
			if err == nil {
				return conn, nil
			}
			errs = append(errs, err)
		}
		return nil, fmt.Errorf("no API server of the settings' apiServers answers: %w", errors.Join(errs...))
	}
}
