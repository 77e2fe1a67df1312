// Package tlsfiles reads what an option tls names: the certificate that a client shows, and whom it trusts.
package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// Load reads the files of the option: none, CA, CERT KEY, or CERT KEY CA. Without a CA the system's authorities are trusted.
// It returns an error for files that cannot be read, and for those that hold something else.
func Load(files []string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(files) >= 2 {
		certificate, err := tls.LoadX509KeyPair(files[0], files[1])
		if err != nil {
			return nil, fmt.Errorf("could not load TLS cert: %w", err)
		}
		c.Certificates = []tls.Certificate{certificate}
		files = files[2:]
	}
	if len(files) == 0 {
		return c, nil
	}
	pem, err := os.ReadFile(files[0])
	if err != nil {
		return nil, fmt.Errorf("error reading %s: %w", files[0], err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("could not read root certs: no certificate in %s", files[0])
	}
	return c, nil
}
