package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/config"
)

// corefile is one of the files of testdata/corefiles, and what it names.
type corefile struct {
	name    string
	text    string
	own     []netip.Addr // what the server listens at, beside the addresses that its machine has anyway
	clients []netip.Addr // whom views tell from others
	metrics []string     // where it shows its metrics, as host:port
	targets []target
	probes  int              // how many queries its loop directives send at a start
	zones   []string         // what its kubernetes directives serve, lower case; nil where there are none
	kubed   string           // the kubernetes directives' own text, for a server that has nothing else
	words   []string         // names that stand in the file, absolute
	grpc    []netip.AddrPort // where on the server's own machine it expects a server that speaks DNS over gRPC
	passed  []string         // the zones that it asks that one for
	skydns  bool             // an etcd holds its names
}

// target is a port that a file has a server listen at, on some addresses or all, and what is served there.
type target struct {
	port  uint16
	binds []netip.Addr // empty: all
	zones []string
	kube  bool // a block here has the kubernetes directive
	log   bool // a block here has the log directive
	chaos bool // a block here has the chaos directive

	forwards string // how names that no other block has are forwarded to a resolver, as the file says it; "" if they are not
}

// outside are the servers that Corefiles forward to.
type outside struct {
	recursive, authoritative, cluster, tls []netip.AddrPort
	names                                  []string // of TLS servers
	zones                                  []string // of the authoritative ones
	skydns                                 []string // zones whose names an etcd holds
	alike                                  [][]netip.AddrPort
}

// nameservers is what /etc/resolv.conf says on the machines of all files.
var nameservers = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.2:53"), netip.MustParseAddrPort("192.0.2.3:53")}

// readCorefiles reads all files, and the servers that they name.
func readCorefiles(folder string) ([]*corefile, *outside, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, nil, fmt.Errorf("list the Corefiles: %w", err)
	}
	var files []*corefile
	use := map[netip.AddrPort]map[string]bool{} // the zones that an address is asked for
	out := &outside{recursive: slices.Clone(nameservers)}
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return nil, nil, fmt.Errorf("read a Corefile: %w", err)
		}
		f := &corefile{name: entry.Name(), text: string(text)}
		if err := f.read(use, out); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", f.name, err)
		}
		files = append(files, f)
	}
	out.assign(use)
	return files, out, nil
}

// podIP is the address that {$POD_IP} stands for while a file is read; each server has its own in its place.
const podIP = "192.0.2.255"

// read notes what the file names. Files that cannot be parsed name nothing.
func (f *corefile) read(use map[netip.AddrPort]map[string]bool, out *outside) error {
	text := strings.ReplaceAll(f.text, "{$POD_IP}", podIP)
	parsed, err := config.Parse(filepath.Join("/", "etc", "coredns", "Corefile"), []byte(text), config.Options{})
	if err != nil {
		return nil
	}
	for _, b := range parsed.Blocks {
		f.addTargets(&b)
		for i := range b.Directives {
			d := &b.Directives[i]
			lines := argumentLines(d)
			f.addWords(lines)
			switch d.Name {
			case "bind":
				f.own = append(f.own, bound(lines)...)
			case "prometheus":
				f.metrics = append(f.metrics, lines[0][1:]...)
			case "view":
				f.clients = append(f.clients, addressesIn(lines)...)
			case "kubernetes":
				f.addKubernetes(&b, d)
			case "loop":
				f.probes += len(b.Keys)
			case "etcd":
				f.skydns = true
				out.skydns = append(out.skydns, b.Zones()...)
			case "forward":
				for _, line := range lines {
					addServers(use, out, &b, line)
				}
			case "grpc":
				f.addGRPC(out, lines[0])
			}
		}
	}
	slices.SortFunc(f.own, netip.Addr.Compare)
	f.own = slices.DeleteFunc(slices.Compact(f.own), func(a netip.Addr) bool { return a.String() == podIP || a.IsLoopback() })
	slices.Sort(f.metrics)
	f.metrics = slices.Compact(f.metrics)
	slices.Sort(f.words)
	f.words = slices.Compact(f.words)
	return nil
}

// argumentLines are the lines of a directive, those of its block included, each without
// braces and comments.
func argumentLines(d *config.Directive) [][]string {
	var lines [][]string
	line := -1
	for t := d.Dispenser(); t.Next(); {
		if t.Val() == "{" || t.Val() == "}" {
			continue
		}
		if t.Line() != line {
			lines, line = append(lines, nil), t.Line()
		}
		lines[len(lines)-1] = append(lines[len(lines)-1], t.Val())
	}
	return lines
}

func bound(lines [][]string) []netip.Addr {
	var addrs []netip.Addr
	for _, line := range lines {
		for _, word := range line[1:] {
			if a, err := netip.ParseAddr(word); err == nil {
				addrs = append(addrs, a)
			}
		}
	}
	return addrs
}

// addressesIn are the addresses that stand in lines, whatever is around them.
func addressesIn(lines [][]string) []netip.Addr {
	var addrs []netip.Addr
	for _, line := range lines {
		for _, word := range wordSplit.Split(strings.Join(line, " "), -1) {
			if a, err := netip.ParseAddr(word); err == nil {
				addrs = append(addrs, a)
			}
		}
	}
	return addrs
}

// addTargets adds the ports of a block, each once per set of addresses.
func (f *corefile) addTargets(b *config.Block) {
	var binds []netip.Addr
	if d := b.Directive("bind"); d != nil {
		binds = bound(argumentLines(d))
	}
	for _, key := range b.Keys {
		i := slices.IndexFunc(f.targets, func(t target) bool { return t.port == key.Port && slices.Equal(t.binds, binds) })
		if i < 0 {
			i = len(f.targets)
			f.targets = append(f.targets, target{port: key.Port, binds: binds})
		}
		t := &f.targets[i]
		t.zones = append(t.zones, key.Zone)
		t.kube = t.kube || b.Directive("kubernetes") != nil
		if d := b.Directive("forward"); d != nil && key.Zone == "." && !strings.Contains(f.text, " 10.0.0.10") {
			t.forwards = fmt.Sprint(argumentLines(d), b.Directive("cache") != nil)
		}
		t.chaos = t.chaos || b.Directive("chaos") != nil
		t.log = t.log || b.Directive("log") != nil
	}
}

// addKubernetes notes the zones of a kubernetes directive and its text, which is that of its block without the rest.
func (f *corefile) addKubernetes(b *config.Block, d *config.Directive) {
	lines := argumentLines(d)
	zones, _ := b.ZonesOr(lines[0][1:])
	f.zones = append(f.zones, zones...)
	f.kubed += strings.Join(zones, " ") + " {\n  kubernetes {\n"
	for _, line := range lines[1:] {
		f.kubed += "    " + strings.Join(line, " ") + "\n"
	}
	f.kubed += "  }\n}\n"
}

var wordSplit = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)

// addWords notes what looks like names, also inside of regular expressions and templates.
func (f *corefile) addWords(lines [][]string) {
	for _, line := range lines {
		for _, token := range line {
			for _, word := range wordSplit.Split(strings.ReplaceAll(token, `\.`, "."), -1) {
				word = strings.Trim(word, ".")
				_, isAddress := netip.ParseAddr(word)
				if _, ok := dns.IsDomainName(word); ok && isAddress != nil && strings.Contains(word, ".") {
					f.words = append(f.words, strings.ToLower(dns.Fqdn(word)))
				}
			}
		}
	}
}

// addServers notes the servers of a forward line.
func addServers(use map[netip.AddrPort]map[string]bool, out *outside, b *config.Block, line []string) {
	if line[0] == "tls_servername" {
		out.names = append(out.names, line[1])
	}
	if line[0] != "forward" {
		return
	}
	from := line[1]
	if from == "." {
		from = b.Keys[0].Zone
	}
	var together []netip.AddrPort
	for _, to := range line[2:] {
		to, isTLS := strings.CutPrefix(to, "tls://")
		addr, err := netip.ParseAddrPort(to)
		if err != nil {
			a, err := netip.ParseAddr(to)
			if err != nil {
				continue // a file, or the opening brace
			}
			addr = netip.AddrPortFrom(a, 53)
		}
		switch {
		case addr.Addr().IsLoopback(): // the server itself, or nobody
		case isTLS:
			out.tls = append(out.tls, netip.AddrPortFrom(addr.Addr(), 853))
		default:
			if use[addr] == nil {
				use[addr] = map[string]bool{}
			}
			use[addr][from] = true
			together = append(together, addr)
		}
	}
	out.alike = append(out.alike, together)
}

// addGRPC notes the servers of a grpc line, which have the zone from the resolver that the machine has.
func (f *corefile) addGRPC(out *outside, line []string) {
	zone := dns.Fqdn(line[1])
	f.passed, out.zones = append(f.passed, zone), append(out.zones, zone)
	for _, to := range line[2:] {
		if addr, err := netip.ParseAddrPort(to); err == nil && addr.Addr().IsLoopback() {
			f.grpc = append(f.grpc, addr)
		}
	}
}

// assign says who is at each address: the cluster's own DNS where anyone asks for its zone or leads others to it, a
// resolver where anyone asks for all names, else an authoritative server.
func (o *outside) assign(use map[netip.AddrPort]map[string]bool) {
	for range o.alike { // what is asked in one place for the same names must have the same answers
		for _, together := range o.alike {
			for _, a := range together {
				for _, b := range together {
					use[b]["."] = use[b]["."] || use[a]["."]
				}
			}
		}
	}
	for addr, zones := range use {
		switch {
		case zones["cluster.local."] || zones["cluster-b.remote."]:
			o.cluster = append(o.cluster, addr)
		case zones["."]:
			o.recursive = append(o.recursive, addr)
		default:
			o.authoritative = append(o.authoritative, addr)
		}
		for zone := range zones {
			if zone != "." && !strings.HasSuffix(zone, "arpa.") && zone != "cluster.local." && zone != "cluster-b.remote." {
				o.zones = append(o.zones, zone)
			}
		}
	}
	for _, list := range []*[]netip.AddrPort{&o.recursive, &o.authoritative, &o.cluster, &o.tls} {
		slices.SortFunc(*list, netip.AddrPort.Compare)
		*list = slices.Compact(*list)
	}
	slices.Sort(o.zones)
	o.zones = slices.Compact(o.zones)
}
