//go:build e2e

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"
)

// nodesReach tests that programs on a node reach pods and Services on any node, and that the API
// server reaches webhooks.
func (l *lab) nodesReach(t *testing.T) {
	l.pair(t, "reach")
	a, b, both := l.address(t, "reach/a"), l.address(t, "reach/b"), l.clusterIP(t, "reach/both")
	for _, node := range []string{"node1", "node2"} {
		from := func(t *testing.T, command string) string {
			t.Helper()
			return l.run(t, "isthmus-lab", "exec", node, "--", "busybox", "sh", "-c", command)
		}
		checkTransfer(t, node+" to a pod on node1", a, from)
		checkTransfer(t, node+" to a pod on node2", b, from)
		until(t, time.Minute, func() error {
			out, err := l.try(t, "isthmus-lab", "exec", node, "--", "busybox", "sh", "-c", fetch(both))
			if err == nil && strings.TrimSpace(out) != fmt.Sprint(megabytes<<20) {
				err = fmt.Errorf("%s got %s bytes from the Service", node, strings.TrimSpace(out))
			}
			return err
		})
	}
	l.webhook(t)
}

// webhook tests that the API server follows the answers of an admission webhook in a pod.
func (l *lab) webhook(t *testing.T) {
	t.Helper()
	cert, key := certificate(t, "hook.reach.svc")
	t.Cleanup(func() { l.kubectl(t, "delete", "validatingwebhookconfiguration", "e2e", "--ignore-not-found") })
	l.apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata: {namespace: reach, name: hook}
data: {tls.crt: %[1]s, tls.key: %[2]s}
---
apiVersion: v1
kind: Pod
metadata: {namespace: reach, name: hook, labels: {app: hook}}
spec:
  nodeName: node2
  terminationGracePeriodSeconds: 0
  volumes: [{name: tls, secret: {secretName: hook}}]
  containers:
  - name: main
    image: localhost/isthmus-demo:1
    command: [hello, hook/8443]
    volumeMounts: [{name: tls, mountPath: /tls}]
    readinessProbe: {tcpSocket: {port: 8443}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {namespace: reach, name: hook}
spec: {selector: {app: hook}, ports: [{port: 443, targetPort: 8443}]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: e2e}
webhooks:
- name: hook.reach.svc
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  timeoutSeconds: 5
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: reach}}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
  clientConfig: {caBundle: %[1]s, service: {namespace: reach, name: hook}}
`, cert, key))
	l.ready(t, "reach/hook")
	l.waitLoadBalancer(t, "reach/hook")
	until(t, 2*time.Minute, func() error {
		_, err := l.try(t, "kubectl", "-n", "reach", "create", "configmap", "welcome")
		return err
	})
	_, err := l.try(t, "kubectl", "-n", "reach", "create", "configmap", "refused-1")
	if err == nil || !strings.Contains(err.Error(), "refused by hook") {
		t.Errorf("the webhook's answer did not count: %v", err)
	}
}

// certificate returns a self-signed certificate and its key, in base64 for a Secret.
func certificate(t *testing.T, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, b []byte) string {
		return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return text("CERTIFICATE", der), text("PRIVATE KEY", secret)
}
