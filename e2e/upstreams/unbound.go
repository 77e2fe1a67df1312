package upstreams

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/e2e/lab"
)

// unboundConf is completed with the trust anchor and the interfaces. TTLs are those of the zones, however long ago Unbound
// asked for a name, so that two servers that ask it one after the other are told the same.
const unboundConf = `server:
  directory: %[1]q
  pidfile: ""
  chroot: ""
  username: ""
  use-syslog: no
  verbosity: 0
  num-threads: 1
  do-daemonize: no
  access-control: 0.0.0.0/0 allow
  access-control: ::/0 allow
  do-not-query-localhost: no
  serve-original-ttl: yes
  cache-min-ttl: 0
  edns-buffer-size: 4096
  max-udp-size: 4096
  qname-minimisation: no
  module-config: "validator iterator"
  trust-anchor: %[2]q
  domain-insecure: "."
  hide-identity: yes
  hide-version: yes
  incoming-num-tcp: 512
  outgoing-range: 1024
  num-queries-per-thread: 1024
  local-zone: "test." nodefault
  local-zone: "10.in-addr.arpa." nodefault
  tls-service-key: "tls.key"
  tls-service-pem: "tls.pem"
`

const unboundStub = `remote-control:
  control-enable: no
stub-zone:
  name: "."
  stub-addr: %s@%d
  stub-prime: no
`

func (u *Upstreams) startUnbound(ctx context.Context, o Options, anchor string) (err error) {
	if err := u.writeCertificate(o); err != nil {
		return err
	}
	var conf strings.Builder
	fmt.Fprintf(&conf, unboundConf, u.folder, anchor)
	for _, a := range append([]netip.AddrPort{unboundInside}, o.TLS...) {
		fmt.Fprintf(&conf, "  interface: %s@%d\n", a.Addr(), a.Port())
	}
	fmt.Fprintf(&conf, unboundStub, knotInside.Addr(), knotInside.Port())
	if err := u.write("unbound.conf", []byte(conf.String())); err != nil {
		return err
	}
	if u.unbound, err = lab.StartProcess("unbound", nil, "unbound", "-d", "-p", "-c", u.file("unbound.conf")); err != nil {
		return err
	}
	return await(ctx, u.unbound, unboundInside, "www."+SignedZone, dns.TypeA)
}

// writeCertificate makes an authority and a certificate by it for all that TLS clients call Unbound.
func (u *Upstreams) writeCertificate(o Options) error {
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lab"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "unbound"}, NotBefore: authority.NotBefore,
		NotAfter: authority.NotAfter, DNSNames: o.TLSNames, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, a := range o.TLS {
		leaf.IPAddresses = append(leaf.IPAddresses, a.Addr().AsSlice())
	}
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make the authority's key: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make Unbound's key: %w", err)
	}
	root, err := x509.CreateCertificate(rand.Reader, authority, authority, &authorityKey.PublicKey, authorityKey)
	if err != nil {
		return fmt.Errorf("make the authority's certificate: %w", err)
	}
	signed, err := x509.CreateCertificate(rand.Reader, leaf, authority, &key.PublicKey, authorityKey)
	if err != nil {
		return fmt.Errorf("make Unbound's certificate: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode Unbound's key: %w", err)
	}
	u.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root})
	if err := u.write("tls.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed})); err != nil {
		return err
	}
	return u.write("tls.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}
