package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"

	"github.com/waypost/waypost/proxy/account"
)

// Query says which Services to ask for; what is empty does not narrow.
type Query struct {
	Namespace, Name string
}

// Routes asks the waypost-proxy that listens on address, ADDRESS:PORT, for the accounts of its Services, and calls visit with one
// after the other.
func Routes(ctx context.Context, address string, q Query, visit func(*account.Service) error) error {
	u := url.URL{Scheme: "http", Host: reachable(address), Path: routesPath, RawQuery: url.Values{"namespace": {q.Namespace}, "name": {q.Name}}.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fmt.Errorf("ask waypost-proxy for routes: %w", err)
	}
	client := &http.Client{Transport: &http.Transport{Proxy: nil}} // it is this node that is asked
	resp, err := client.Do(req)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err // the rest is the URL
		}
		return fmt.Errorf("ask waypost-proxy on %s for routes: %w; is it running here, with that --metrics-bind-address?", u.Host, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusForbidden {
		return fmt.Errorf("ask waypost-proxy on %s for routes: it tells only who asks on its own node: run this there", u.Host)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask waypost-proxy on %s for routes: it answers %s; is it somebody else?", u.Host, resp.Status)
	}
	if err := decode(resp.Body, visit); err != nil {
		return fmt.Errorf("read routes from %s: %w", u.Host, err)
	}
	return nil
}

func decode(from io.Reader, visit func(*account.Service) error) error {
	lines := json.NewDecoder(from)
	for {
		var s *account.Service
		if err := lines.Decode(&s); errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		} else if err != nil {
			return err
		}
		if s == nil {
			return nil
		}
		if err := visit(s); err != nil {
			return err
		}
	}
}

// reachable is an address to connect to, for one that is listened on.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if a, bad := netip.ParseAddr(host); err == nil && bad == nil && a.IsUnspecified() {
		if a.Is4() {
			host = "127.0.0.1"
		} else {
			host = "::1"
		}
		return net.JoinHostPort(host, port)
	}
	return address
}
