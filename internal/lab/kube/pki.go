package kube

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// authority signs the certificates of one lab and keeps them as files in dir:
// NAME.crt and NAME.key. What is there already is used as it is.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	now  time.Time
}

// identity is what a certificate says about its bearer. One with Hosts is a server.
type identity struct {
	file   string
	name   string   // CN: the user
	groups []string // O
	hosts  []string // names and addresses
}

func (id identity) heldBy(cert *x509.Certificate) bool {
	return !slices.ContainsFunc(id.hosts, func(h string) bool { return cert.VerifyHostname(h) != nil })
}

// openAuthority reads the authority in dir or makes a new one.
func openAuthority(dir string, now time.Time) (*authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	a := &authority{dir: dir, now: now}
	if cert, key, err := readPair(a.path("ca")); err == nil {
		a.cert, a.key = cert, key
		return a, nil
	}
	template := a.template(identity{name: "isthmus-lab"})
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage |= x509.KeyUsageCertSign
	return a, a.write("ca", template, func(key *ecdsa.PrivateKey) {
		a.cert, a.key = template, key
	})
}

// issue makes the certificate of id, unless one is there that names all its hosts.
func (a *authority) issue(id identity) error {
	if cert, _, err := readPair(a.path(id.file)); err == nil && id.heldBy(cert) {
		return nil
	}
	return a.write(id.file, a.template(id), func(*ecdsa.PrivateKey) {})
}

// signer makes a key pair of its own, for service account tokens.
func (a *authority) signer(file string) error {
	return a.issue(identity{file: file, name: file})
}

func (a *authority) path(file string) string { return filepath.Join(a.dir, file) }

func (a *authority) crt(file string) string { return a.path(file) + ".crt" }

func (a *authority) keyFile(file string) string { return a.path(file) + ".key" }

func (a *authority) template(id identity) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)) // never fails
	cert := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: id.name, Organization: id.groups},
		NotBefore:    a.now.Add(-time.Hour),
		NotAfter:     a.now.AddDate(1, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for _, h := range id.hosts {
		if ip := net.ParseIP(h); ip != nil {
			cert.IPAddresses = append(cert.IPAddresses, ip)
		} else {
			cert.DNSNames = append(cert.DNSNames, h)
		}
	}
	return cert
}

// write signs template for a new key, lets made see the key, and writes both.
func (a *authority) write(file string, template *x509.Certificate, made func(*ecdsa.PrivateKey)) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	made(key)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return fmt.Errorf("sign %s: %w", file, err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name, kind string
		der        []byte
	}{
		{a.keyFile(file), "PRIVATE KEY", keyDER},
		{a.path(file) + ".pub", "PUBLIC KEY", public},
		{a.crt(file), "CERTIFICATE", der}, // last: a pair with a certificate is complete
	} {
		text := pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der})
		if err := os.WriteFile(f.name, text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func readPair(path string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	crt, err := readPEM(path + ".crt")
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(crt)
	if err != nil {
		return nil, nil, err
	}
	der, err := readPEM(path + ".key")
	if err != nil {
		return nil, nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, nil, err
	}
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, nil, fmt.Errorf("%s.key is not an ECDSA key", path)
	}
	return cert, private, nil
}

func readPEM(file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s is not PEM", file)
	}
	return block.Bytes, nil
}
