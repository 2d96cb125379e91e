package controller

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// serverName is in every API server's certificate, whatever its address.
const serverName = "kubernetes.default.svc"

// restConfig reaches the API servers by their own addresses: Services are among
// the things that need us, so we cannot need one.
func restConfig(kubeconfig string, servers []string) (*rest.Config, error) {
	if kubeconfig != "" {
		c, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
		return unlimited(c), err
	}
	c, err := rest.InClusterConfig()
	if err != nil {
		return nil, err
	}
	c.Host, c.Dial = "https://"+serverName, dialAny(servers)
	return unlimited(c), nil
}

// unlimited leaves it to the API server to say how fast is too fast.
func unlimited(c *rest.Config) *rest.Config {
	if c != nil {
		c.UserAgent, c.QPS = name, -1
	}
	return c
}

// dialAny tries each address until one answers.
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
