package upstreamtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Identity is a certificate that its own authority has signed, for 127.0.0.1 and for names.
type Identity struct {
	Roots       *x509.CertPool // which trust it
	Certificate tls.Certificate
}

// NewIdentity makes an Identity for 127.0.0.1 and for names.
func NewIdentity(t testing.TB, names ...string) *Identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "upstreamtest"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		DNSNames:              names,
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &Identity{Roots: roots, Certificate: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}}
}

// Listen opens a port of 127.0.0.1 where TLS is spoken.
func (i *Identity) Listen(t testing.TB) net.Listener {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{i.Certificate}, NextProtos: []string{"h2", "http/1.1", "dot"}})
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// Files writes certificate, key and authority to files of the test, in PEM.
func (i *Identity) Files(t testing.TB) (certificate, key, authority string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(i.Certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	certificate = write("cert.pem", "CERTIFICATE", i.Certificate.Certificate[0])
	return certificate, write("key.pem", "PRIVATE KEY", der), write("ca.pem", "CERTIFICATE", i.Certificate.Certificate[0])
}
