// Package upstreams is the world outside of a cluster: the servers that Corefiles forward to. Knot has zones with all that
// makes forwarding hard, Unbound is a validating resolver before it, over DNS and DNS over TLS, and a front of our own
// passes on to Unbound what it does not answer wrongly on purpose.
package upstreams

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/waypost/waypost/e2e/lab"
)

// Options say where the servers are. The addresses must be the namespace's own.
type Options struct {
	Zones         []string         // what Knot has beside its own zones, as "abc.com."
	Authoritative []netip.AddrPort // of Knot
	Recursive     []netip.AddrPort // of Unbound, with the front before it
	TLS           []netip.AddrPort // of Unbound
	TLSNames      []string         // what its certificate is for
}

// The addresses that the servers have of each other.
var (
	knotInside    = netip.MustParseAddrPort("127.0.0.1:5300")
	knotByName    = netip.MustParseAddrPort("127.0.0.54:53") // where the zones' NS records lead
	unboundInside = netip.MustParseAddrPort("127.0.0.1:5301")
)

// Resolver is where Unbound is, without the front, for programs of the same namespace.
func Resolver() netip.AddrPort { return unboundInside }

// Upstreams are running servers.
type Upstreams struct {
	CA      []byte // the certificate of who signed Unbound's, PEM
	folder  string
	knot    *lab.Process
	unbound *lab.Process
	front   *front
}

// Start starts all servers in the namespace of the calling thread and returns once they answer.
func Start(ctx context.Context, o Options) (*Upstreams, error) {
	folder, err := os.MkdirTemp(lab.Folder(), "upstreams-")
	if err != nil {
		return nil, fmt.Errorf("make the upstreams' folder: %w", err)
	}
	u := &Upstreams{folder: folder}
	if err := u.start(ctx, o); err != nil {
		u.Stop()
		return nil, err
	}
	return u, nil
}

func (u *Upstreams) start(ctx context.Context, o Options) (err error) {
	if err := u.startKnot(ctx, o); err != nil {
		return err
	}
	anchor, err := trustAnchor(ctx)
	if err != nil {
		return err
	}
	if err := u.startUnbound(ctx, o, anchor); err != nil {
		return err
	}
	u.front, err = startFront(o.Recursive, unboundInside)
	return err
}

// Told are the different replies of Unbound that a client was sent for a name and type through the front.
func (u *Upstreams) Told(client netip.Addr, name string, qtype uint16) [][]byte {
	u.front.mu.Lock()
	defer u.front.mu.Unlock()
	return slices.Clone(u.front.told[asked{client, strings.ToLower(name), qtype}])
}

// Stop ends all servers.
func (u *Upstreams) Stop() {
	if u.front != nil {
		u.front.stop()
	}
	u.unbound.Stop()
	u.knot.Stop()
	os.RemoveAll(u.folder)
}

func (u *Upstreams) file(name string) string { return filepath.Join(u.folder, name) }

func (u *Upstreams) write(name string, text []byte) error {
	if err := os.WriteFile(u.file(name), text, 0o644); err != nil {
		return fmt.Errorf("write a file of the upstreams: %w", err)
	}
	return nil
}
