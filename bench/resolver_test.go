package bench

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waypost/waypost/e2e/lab"
	"github.com/waypost/waypost/e2e/peers"
)

// resolverCorefile is what CoreDNS and Waypost forward and cache with, as the usual Corefile does.
const resolverCorefile = `
. {
    errors
    cache 30
    forward . 127.0.0.1:10070
}
`

// Where the servers of the resolver's figures listen.
var (
	upstreamAddress = netip.MustParseAddrPort("127.0.0.1:10070")
	resolverAddress = netip.MustParseAddrPort("127.0.0.1:10053")
)

// resolved is what a resolver did under two loads.
type resolved struct{ hit, miss loaded }

// TestResolver prints what forwarding and caching costs CoreDNS, Unbound and Waypost.
func TestResolver(t *testing.T) {
	p, err := peers.Find()
	if err != nil {
		t.Fatal(err)
	}
	upstream, err := startUpstream(t.Context(), upstreamAddress)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(upstream.Stop)
	few := upstreamNames(t, "few", 1000)
	var many []string
	for n := range loadRounds {
		many = append(many, upstreamNames(t, fmt.Sprintf("many-%d", n), 200_000))
	}
	floor := measureEcho(t, few)
	done := map[string]resolved{}
	for _, name := range []string{"coredns", "unbound", "waypost"} {
		done[name] = measureResolver(t, p, name, few, many)
	}
	t.Log(resolverTable(floor, done["coredns"], done["unbound"], done["waypost"]))
}

// upstreamNames writes questions for n different names that the upstream has.
func upstreamNames(t *testing.T, prefix string, n int) (file string) {
	t.Helper()
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "%s-%d.upstream.example. A\n", prefix, i)
	}
	file = filepath.Join(lab.Folder(), prefix)
	if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// measureResolver asks one server for few names again and again, then for many names once each.
func measureResolver(t *testing.T, p *peers.Peers, name, few string, many []string) resolved {
	t.Helper()
	server := startResolver(t, p, name)
	defer server.Stop()
	var r resolved
	var err error
	if _, err = measure(server, resolverAddress, few, 1, atFullSpeed); err != nil { // fills the cache
		t.Fatal(err)
	}
	if r.hit, err = measureBest(server, resolverAddress, few); err != nil {
		t.Fatal(err)
	}
	if r.miss, err = measureBest(server, resolverAddress, many...); err != nil {
		t.Fatal(err)
	}
	return r
}

// startResolver starts one of the servers and waits until it forwards.
func startResolver(t *testing.T, p *peers.Peers, name string) *lab.Process {
	t.Helper()
	if name == "unbound" {
		server, err := startUnbound(t.Context(), resolverAddress, upstreamAddress)
		if err != nil {
			t.Fatal(err)
		}
		return server
	}
	d, err := lab.LaunchDNS(lab.DNSOptions{
		Name: name, Program: p.Path(name), Before: []string{"taskset", "-c", serverCore}, Corefile: resolverCorefile, Port: resolverAddress.Port(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := awaitName(t.Context(), d.Process, resolverAddress, "up.upstream.example."); err != nil {
		d.Stop()
		t.Fatal(err)
	}
	return d.Process
}

// resolverTable prints the figures as they are reported.
func resolverTable(floor loaded, coredns, unbound, waypost resolved) string {
	var out strings.Builder
	fmt.Fprintf(&out, "\n\nForwarding to Knot, with a cache; one run, the server on one core, %s\n\n", bestOf)
	fmt.Fprintln(&out, "| figure | CoreDNS 1.15.0 | Unbound | Waypost | of CoreDNS's | bar | beside |")
	fmt.Fprintln(&out, "|---|---|---|---|---|---|---|")
	row := func(name, format string, of func(resolved) float64, bar, beside string) {
		c, u, w := of(coredns), of(unbound), of(waypost)
		fmt.Fprintf(&out, "| %s | "+format+" | "+format+" | "+format+" | %.2f | %s | %s |\n", name, c, u, w, w/c, bar, beside)
	}
	row("CPU per query, cache hit", "%.2f us", func(r resolved) float64 { return r.hit.micros }, "<= 4 us",
		fmt.Sprintf("%.2f us for a loop that looks nothing up", floor.micros))
	row("queries per second, cache hit", "%.0f", func(r resolved) float64 { return r.hit.perSecond }, "", fmt.Sprintf("%.0f for that loop", floor.perSecond))
	row("CPU per query, miss with one forward", "%.2f us", func(r resolved) float64 { return r.miss.micros }, "<= 14 us", "")
	row("queries per second, miss", "%.0f", func(r resolved) float64 { return r.miss.perSecond }, "", "")
	row("lost, hit", "%.0f", func(r resolved) float64 { return float64(r.hit.lost) }, "0", "")
	row("lost, miss", "%.0f", func(r resolved) float64 { return float64(r.miss.lost) }, "0", "")
	row("memory after the misses", "%.0f MB", func(r resolved) float64 { return float64(r.miss.memory) / 1e6 }, "", "")
	return out.String()
}
