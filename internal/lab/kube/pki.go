package kube

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// authority is the certificate authority of one lab. It keeps certificates and keys in dir
// as NAME.crt and NAME.key, and reuses those that exist.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  crypto.Signer
	now  time.Time
}

// identity is the subject of a certificate. An identity with hosts is a server.
type identity struct {
	file   string
	name   string   // CN: the user
	groups []string // O
	hosts  []string // names and addresses
}

func (id identity) heldBy(cert *x509.Certificate) bool {
	return !slices.ContainsFunc(id.hosts, func(h string) bool { return cert.VerifyHostname(h) != nil })
}

// openAuthority reads the authority in dir, or creates one if there is none.
func openAuthority(dir string, now time.Time) (*authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	a := &authority{dir: dir, now: now}
	var err error
	if a.key, err = a.readKey("ca"); err != nil {
		return nil, err
	}
	if a.cert = a.read("ca"); a.cert != nil {
		return a, nil
	}
	// the clock of a virtual machine may be slow
	config := certutil.Config{CommonName: "isthmus-lab", NotBefore: now.Add(-time.Hour)}
	if a.cert, err = certutil.NewSelfSignedCACert(config, a.key); err != nil {
		return nil, err
	}
	return a, a.write("ca", a.cert)
}

// issue creates the certificate of id, unless a certificate exists that names all its hosts.
func (a *authority) issue(id identity) error {
	if cert := a.read(id.file); cert != nil && id.heldBy(cert) {
		return nil
	}
	key, err := a.readKey(id.file)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, a.template(id), a.cert, key.Public(), a.key)
	if err != nil {
		return fmt.Errorf("sign %s: %w", id.file, err)
	}
	return a.write(id.file, &x509.Certificate{Raw: der})
}

func (a *authority) crt(file string) string { return filepath.Join(a.dir, file+".crt") }

func (a *authority) keyFile(file string) string { return filepath.Join(a.dir, file+".key") }

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

// readKey returns the private key NAME.key. It creates one if there is none, or if a killed
// run left an incomplete file.
func (a *authority) readKey(file string) (crypto.Signer, error) {
	key, err := keyutil.PrivateKeyFromFile(a.keyFile(file))
	if err != nil {
		if key, err = a.newKey(file); err != nil {
			return nil, fmt.Errorf("key of %s: %w", file, err)
		}
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s holds no key that signs", a.keyFile(file))
	}
	return signer, nil
}

func (a *authority) newKey(file string) (any, error) {
	text, err := keyutil.MakeEllipticPrivateKeyPEM()
	if err != nil {
		return nil, err
	}
	if err := keyutil.WriteKey(a.keyFile(file), text); err != nil {
		return nil, err
	}
	return keyutil.ParsePrivateKeyPEM(text)
}

// read returns the certificate NAME.crt, or nil if the file is missing or incomplete.
func (a *authority) read(file string) *x509.Certificate {
	certs, err := certutil.CertsFromFile(a.crt(file))
	if err != nil {
		return nil
	}
	return certs[0]
}

func (a *authority) write(file string, cert *x509.Certificate) error {
	text, err := certutil.EncodeCertificates(cert)
	if err != nil {
		return err
	}
	return certutil.WriteCert(a.crt(file), text)
}
