package e2e

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/e2e/ask"
	"github.com/waypost/waypost/e2e/compare"
	"github.com/waypost/waypost/e2e/question"
	"github.com/waypost/waypost/e2e/upstreams"
)

// perCorefile is how many questions are asked at least about each file.
const perCorefile = 2400

// inquiry is what is to be asked of a target.
type inquiry struct {
	target
	questions []question.Question // as clients ask
	odd       []question.Question // and some more
}

// inquiries are the questions about a file; the same file and cluster give the same ones.
func (f *corefile) inquiries(v *question.Vocabulary, skip map[string][]string) []inquiry {
	hash := fnv.New64a()
	hash.Write([]byte(f.name))
	seed := hash.Sum64()
	var list []inquiry
	for i, t := range f.targets {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		share := perCorefile/len(f.targets) + 1
		cluster := drawn(r, f.clusterNames(&t, v, skip), share)
		others := f.otherNames(&t)
		questions := question.About(others, seed+uint64(i), share*6/10)
		if len(cluster) > 0 {
			questions = append(questions, question.About(cluster, seed-uint64(i)-1, share-len(questions))...)
		} else {
			questions = append(questions, question.About(others, seed-uint64(i)-1, share-len(questions))...)
		}
		for range share / 5 { // asked once more, when the answer may be in the cache
			questions = append(questions, questions[r.IntN(share)])
		}
		list = append(list, inquiry{t, questions, oddly(r, questions)})
	}
	return list
}

// oddly asks some of the questions in other classes, without recursion, and with bits that are for replies.
func oddly(r *rand.Rand, questions []question.Question) []question.Question {
	var odd []question.Question
	classes := []uint16{dns.ClassCHAOS, dns.ClassCHAOS, dns.ClassANY, dns.ClassHESIOD, 0}
	for range len(questions) / 20 {
		q := questions[r.IntN(len(questions))]
		odd = append(odd, q.InClass(classes[r.IntN(len(classes))]),
			q.WithBits(func(bits uint16) uint16 { return bits &^ bitRD }),
			q.WithBits(func(bits uint16) uint16 { return bits | uint16(r.IntN(0x10000))&replyBits }))
	}
	for _, name := range []string{"version.bind.", "version.server.", "hostname.bind.", "id.server.", "authors.bind.", "x.version.bind."} {
		for _, q := range question.About([]string{name}, r.Uint64(), 4) {
			odd = append(odd, q.InClass(dns.ClassCHAOS))
		}
	}
	return odd
}

// Bits of the header: of questions, and those that only replies have, the response code with them.
const (
	bitQR     = 0x8000
	bitAA     = 0x0400
	bitTC     = 0x0200
	bitRD     = 0x0100
	bitAD     = 0x0020
	bitCD     = 0x0010
	bitDO     = 0x8000 // of OPT
	replyBits = bitAA | bitTC | 0x0080 | 0x0040 | 0xf
)

func drawn(r *rand.Rand, names []string, n int) []string {
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names[:min(n, len(names))]
}

// clusterNames are those of the cluster in the forward zones of a target, and reverse ones, where it serves any.
func (f *corefile) clusterNames(t *target, v *question.Vocabulary, skip map[string][]string) []string {
	var zones []string
	reverse := false
	for _, zone := range t.zones {
		switch {
		case strings.HasSuffix(zone, "arpa."):
			reverse = true
		case zone == ".":
			zones, reverse = append(zones, "cluster.local."), true
			if strings.Contains(f.text, "multicluster") {
				zones = append(zones, "clusterset.local.")
			}
		case strings.Contains(zone, "cluster"):
			zones = append(zones, zone)
		}
	}
	return slices.DeleteFunc(v.Names(zones), func(name string) bool {
		_, skipped := skip[name]
		arpa := strings.HasSuffix(name, "arpa.")
		inZone := slices.ContainsFunc(zones, func(zone string) bool { return dns.IsSubDomain(zone, name) })
		return skipped || !inZone && !(arpa && reverse)
	})
}

// anywhere are names that one Corefile or another treats in its own way.
var anywhere = []string{
	".", "com.", "arpa.", "localhost.", "1.0.0.127.in-addr.arpa.", "version.bind.", "hostname.bind.", "id.server.", "authors.bind.", "version.server.",
	"a.internal.cloudapp.net.", "a.b.c.d.internal.cloudapp.net.", "a.b.c.d.e.internal.cloudapp.net.", "x.reddog.microsoft.com.", "reddog.microsoft.com.",
	"node-1.", "node-2.", "node-1.example.internal.", "mcr.microsoft.com.", "packages.aks.azure.com.", "mixed.example.org.", "1.0.0.10.in-addr.arpa.",
	"7.113.0.203.in-addr.arpa.", "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.", "www.example.com.", "www.example.net.",
	"foo.nodes.vcluster.com.", "web.prod.svc.cluster.local.svc.cluster.local.", "www.gardener.cloud.svc.cluster.local.", "gardener.cloud.",
	"a.coredns.rocks.", "test.example.com.", "test1.example.com.", "host.minikube.internal.", "x.ingress.cluster.local.", "web.prod.svc.cluster-b.remote.",
	"svc.svc.cluster.local.", "health-check.localdns.local.", "reflect.k8s.local.wmnet.", "www.example.com.default.svc.cluster.local.",
	"www.example.com.svc.cluster.local.", "www.example.com.cluster.local.", "web.prod.svc.cluster.local.default.svc.cluster.local.", "kind-one.", "a.kind-one.",
}

// otherNames are those of the zones that a target forwards or answers by itself, and those that stand in the file.
func (f *corefile) otherNames(t *target) []string {
	names := slices.Concat(anywhere, f.words)
	for _, word := range f.words {
		names = append(names, "x."+word, "a.b."+word)
	}
	zones := slices.Clone(t.zones)
	if f.skydns {
		for _, zone := range zones {
			names = append(names, skydnsNames(zone)...)
		}
	}
	if slices.Contains(zones, ".") {
		zones = append(zones, "example.com.", "example.org.", upstreams.SignedZone, "10.in-addr.arpa.")
	}
	for _, zone := range append(zones, f.passed...) {
		for _, name := range upstreams.Names() {
			names = append(names, strings.TrimPrefix(name+"."+strings.TrimPrefix(zone, "."), "."))
		}
	}
	return slices.DeleteFunc(names, func(name string) bool {
		_, ok := dns.IsDomainName(name)
		return !ok || name == ""
	})
}

// way is how a place is asked about a target.
type way struct {
	from netip.Addr // the client; the zero Addr is the place itself
	to   netip.AddrPort
}

// ways are those to where a place listens for a target, IPv4 and IPv6 in turn where it listens on all, of each of the clients.
func (p *place) ways(t *target) []way {
	ips := t.binds
	if len(ips) == 0 {
		ips = []netip.Addr{p.ip4, p.ip6}
	}
	var list []way
	for _, ip := range ips {
		if ip.String() == podIP {
			ip = p.ip4
		}
		to := netip.AddrPortFrom(ip, t.port)
		list = append(list, way{to: to})
		for _, client := range p.clients {
			if client.Is4() == ip.Is4() {
				list = append(list, way{client, to})
			}
		}
	}
	return list
}

// reply is what the two servers answered to a question.
type reply struct {
	*question.Question
	target           *target
	coredns, waypost *compare.Answer
	failed           error         // of what cannot even be read
	own              *place        // of Waypost, nil where no resolver is behind it
	age              time.Duration // how long ago the two servers were asked for the first time

	again func(*question.Question) (*compare.Answer, error) // asks CoreDNS something else where the question was asked
}

// again asks a server something by one of the ways to a target, of which n is the number, modulo how many there are.
func (p *place) again(t *target, n int, q *question.Question) (*compare.Answer, error) {
	ways := p.ways(t)
	conn, err := p.conn(ways[n%len(ways)])
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.Timeout, conn.Tries = replyTimeout, 1
	a, err := exchange(conn, q)
	if err == nil {
		p.level(a)
	}
	return a, err
}

// askers is how many questions about one file are on their way at once.
const askers = 12

// put asks both places all questions, in order, some at once.
func put(coredns, waypost *place, t *target, questions []question.Question) ([]reply, error) {
	replies := make([]reply, len(questions))
	var next atomic.Int64
	var group sync.WaitGroup
	var mu sync.Mutex
	var failed error
	for range askers {
		group.Go(func() {
			a, err := newAsker(coredns, waypost, t)
			for err == nil {
				i := int(next.Add(1)) - 1
				if i >= len(questions) {
					break
				}
				r := &replies[i]
				*r, err = a.ask(&questions[i], i)
				r.target, r.own, r.age = t, waypost, time.Since(coredns.since)
				r.again = func(q *question.Question) (*compare.Answer, error) {
					r.age = time.Since(coredns.since) // as the answer may have been kept since
					return coredns.again(t, i, q)
				}
			}
			a.close()
			if err != nil {
				mu.Lock()
				failed = errors.Join(failed, err)
				mu.Unlock()
				next.Store(int64(len(questions)))
			}
		})
	}
	group.Wait()
	return replies, failed
}

// asker has a connection for each way to a target in both places.
type asker struct {
	coredns, waypost []*ask.Conn
	places           [2]*place
}

func newAsker(coredns, waypost *place, t *target) (a *asker, err error) {
	a = &asker{places: [2]*place{coredns, waypost}}
	for _, side := range []struct {
		p     *place
		conns *[]*ask.Conn
	}{{coredns, &a.coredns}, {waypost, &a.waypost}} {
		for _, w := range side.p.ways(t) {
			conn, err := side.p.conn(w)
			if err != nil {
				return a, err
			}
			conn.Timeout, conn.Tries = replyTimeout, 1 // a question that is repeated would be counted twice
			*side.conns = append(*side.conns, conn)
		}
	}
	return a, nil
}

func (a *asker) close() {
	for _, conn := range slices.Concat(a.coredns, a.waypost) {
		conn.Close()
	}
}

// ask asks both servers the question over connection n of each, modulo how many there are.
func (a *asker) ask(q *question.Question, n int) (reply, error) {
	r := reply{Question: q}
	var err error
	r.coredns, err = exchange(a.coredns[n%len(a.coredns)], q)
	switch {
	case errors.Is(err, errUnreadable) && dns.IsSubDomain(upstreams.BrokenZone, q.Name): // passed on as it came
		r.coredns = &compare.Answer{None: true}
	case err != nil:
		return r, fmt.Errorf("CoreDNS, asked %v: %w", q, err)
	}
	r.waypost, r.failed = exchange(a.waypost[n%len(a.waypost)], q)
	if r.failed == nil {
		a.places[0].level(r.coredns)
		a.places[1].level(r.waypost)
	}
	return r, nil
}

// level takes out of an answer what cannot but differ between two servers: their own addresses, which the name servers of a
// cluster's zone have, and the clients' port in the answers of whoami.
func (p *place) level(a *compare.Answer) {
	for i, section := range a.Sections {
		var kept []compare.Record
		for _, rec := range section {
			address, err := netip.ParseAddr(rec.Data)
			switch {
			case err == nil && (address == p.ip4 || address == p.ip6 || strings.HasPrefix(strings.ToLower(rec.Owner), "ns.dns.")):
				rec.Data = "the server's own"
			case strings.HasPrefix(rec.Data, "0 0 ") && strings.HasSuffix(rec.Data, " ."):
				rec.Data = "0 0 PORT ."
			}
			if !slices.Contains(kept, rec) || rec.Data != "the server's own" {
				kept = append(kept, rec)
			}
		}
		a.Sections[i] = kept
	}
}

// exchange asks a question and takes the answer apart.
func exchange(conn *ask.Conn, q *question.Question) (*compare.Answer, error) {
	send := conn.UDP
	if q.TCP {
		send = conn.TCP
	}
	packet, err := send(q.Packet)
	if errors.Is(err, ask.ErrNoReply) {
		return &compare.Answer{None: true}, nil
	}
	if err != nil {
		return nil, err
	}
	a, err := compare.Parse(packet)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return a, nil
}

// errUnreadable is returned for an answer that is no message.
var errUnreadable = errors.New("read the answer")
