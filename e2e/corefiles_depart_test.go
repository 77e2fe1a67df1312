package e2e

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/e2e/ask"
	"github.com/waypost/waypost/e2e/compare"
	"github.com/waypost/waypost/e2e/question"
	"github.com/waypost/waypost/e2e/upstreams"
)

// want is an answer that Waypost may give, and the departures that make it what it is.
type want struct {
	*compare.Answer
	applied []string
}

// wants are the answers that Waypost may give to a question: CoreDNS's, as the departures change it; and for names of a
// cluster what they make of the answer of a CoreDNS that has that cluster alone.
func (f *corefile) wants(r *reply, ref *reference) ([]want, error) {
	list := []want{f.depart(r, want{Answer: r.coredns})}
	others, err := f.oddWants(r)
	if err != nil {
		return nil, err
	}
	list = append(list, others...)
	if ref == nil || !r.target.kube || ref.oracle.Zone(r.Name) == "" {
		return list, nil
	}
	c := &compare.Case{Question: r.Question, Oracle: ref.oracle}
	plain, err := ref.ask(r.Question)
	if err != nil {
		return nil, err
	}
	departed, applied, err := c.Depart(plain)
	if err != nil {
		return nil, err
	}
	if departed.Rcode == dns.RcodeServerFailure && departed.Flags&bitAA == 0 { // it has nobody to pass the question on to
		if departed, err = f.passedOn(r, r.Question); err != nil {
			return nil, err
		}
	}
	w := want{Answer: departed.Clone()}
	if err := f.follow(r, w.Answer, ref.oracle); err != nil {
		return nil, err
	}
	ref.place.level(w.Answer)
	if w.OPT != nil && r.coredns.OPT != nil && strings.HasPrefix(r.coredns.OPT.Options, nsid) {
		w.OPT.Options = r.coredns.OPT.Options
	}
	if len(r.target.binds) == 1 && r.target.binds[0].Is4() { // and so has a name server without an IPv6 address
		for i := range w.Sections {
			w.Sections[i] = slices.DeleteFunc(w.Sections[i], func(rec compare.Record) bool {
				return rec.Type == dns.TypeAAAA && strings.HasPrefix(strings.ToLower(rec.Owner), "ns.dns.")
			})
		}
	}
	for _, d := range applied {
		w.applied = append(w.applied, d.Number+" "+d.Name)
	}
	list = append(list, f.depart(r, w))
	if r.Type == dns.TypeAAAA && strings.Contains(f.text, "dns64") { // which makes another answer of NODATA
		other := w.Answer.Clone()
		other.Flags &^= bitAA
		list = append(list, f.depart(r, want{other, w.applied}))
	}
	return list, nil
}

// forwardsAll tells files that have somebody to ask for any name.
var forwardsAll = regexp.MustCompile(`(?m)^\s*forward\s+\. `)

// oddWants are further answers to questions that are not as clients ask. Bits that only replies have are not passed on: the
// answer is that to the question without them. Without recursion, what is there depends on what was kept before.
func (f *corefile) oddWants(r *reply) ([]want, error) {
	bits := binary.BigEndian.Uint16(r.Packet[2:])
	if bits&replyBits == 0 && bits&bitRD != 0 {
		return nil, nil
	}
	name := "bits of replies in questions are not passed on"
	if bits&bitRD == 0 {
		name = "other things are kept for questions without recursion"
	}
	usual := r.WithBits(func(bits uint16) uint16 { return bits&^replyBits | bitRD })
	a, err := r.again(&usual)
	if err != nil {
		return nil, err
	}
	list := []*compare.Answer{a}
	if bits&bitRD == 0 {
		for _, q := range []*question.Question{r.Question, &usual} {
			if a, err = f.passedOn(r, q); err != nil {
				return nil, err
			}
			list = append(list, a)
		}
		if r.Type == dns.TypeAAAA && strings.Contains(f.text, "dns64") { // which asks for A without recursion then, too
			ipv4 := r.OfType(dns.TypeA)
			embedded, err := f.passedOn(r, &ipv4)
			if err != nil {
				return nil, err
			}
			a = list[1].Clone()
			a.Rcode, a.Flags, a.Sections = embedded.Rcode, embedded.Flags, embedded.Sections
			list = append(list, a)
		}
	}
	var wants []want
	for _, a := range list {
		a.Flags = a.Flags&^bitRD | bits&bitRD
		wants = append(wants, f.depart(r, want{a, []string{name}}))
	}
	return wants, nil
}

// follow adds what the CoreDNS of the file says to the name outside of the cluster that an alias leads to,
// see docs/differences.md, "An alias is always shown".
func (f *corefile) follow(r *reply, w *compare.Answer, oracle *compare.Oracle) error {
	chain := w.Sections[0]
	if !forwardsAll.MatchString(f.text) || len(chain) == 0 || chain[len(chain)-1].Type != dns.TypeCNAME || r.Type == dns.TypeCNAME ||
		oracle.Zone(chain[len(chain)-1].Data) != "" {
		return nil
	}
	packet, err := new(dns.Msg).SetQuestion(chain[len(chain)-1].Data, r.Type).Pack()
	if err != nil {
		return fmt.Errorf("pack a question for the target of an alias: %w", err)
	}
	a, err := r.again(&question.Question{Packet: packet, TCP: true})
	if err != nil || a.None {
		return err
	}
	w.Rcode = a.Rcode
	if a.Rcode == dns.RcodeRefused {
		w.Rcode = dns.RcodeServerFailure
	}
	w.Sections[0], w.Sections[1] = append(chain, a.Sections[0]...), a.Sections[1]
	likeReceived(w, r.waypost)
	return nil
}

// told are CoreDNS's answer with what the resolver told Waypost in place of what it told CoreDNS. Unbound answers ANY with
// what it has in its cache, and shows more or less of a long chain of aliases once some of them have expired there. That it
// failed is trouble, which may not stay.
func (f *corefile) told(r *reply) []want {
	if r.own == nil || r.waypost.None || r.coredns.None {
		return nil
	}
	var wants []want
	for _, client := range []netip.Addr{r.own.ip4, r.own.ip6} {
		for _, packet := range r.own.up.Told(client, r.Name, r.Type) {
			said, err := compare.Parse(packet)
			if err != nil || said.Flags&bitTC != 0 || said.Rcode == dns.RcodeServerFailure {
				continue
			}
			w := r.coredns.Clone()
			w.Rcode, w.Sections = said.Rcode, said.Sections
			likeReceived(w, r.waypost)
			wants = append(wants, f.depart(r, want{Answer: w}))
		}
	}
	return wants
}

// likeReceived gives records of a resolver's answer the TTLs of the one received, which a cache may have lowered or raised.
func likeReceived(w, got *compare.Answer) {
	for i := range w.Sections {
		for j := range w.Sections[i] {
			if j < len(got.Sections[i]) {
				w.Sections[i][j].TTL = min(max(floor, w.Sections[i][j].TTL), got.Sections[i][j].TTL)
			}
		}
	}
}

// passedOn is what the resolver behind the forward directive says to a question, with the TTLs of the answer received, which
// a cache may have lowered or raised.
func (f *corefile) passedOn(r *reply, q *question.Question) (*compare.Answer, error) {
	if !forwardsAll.MatchString(f.text) {
		return r.coredns.Clone(), nil
	}
	conn, err := ask.Dial(upstreams.Resolver())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.Timeout, conn.Tries = replyTimeout, 1
	asked := q.WithBits(func(bits uint16) uint16 { return bits &^ replyBits })
	w, err := exchange(conn, &asked)
	if err != nil || w.None || r.waypost.None {
		return w, err
	}
	likeReceived(w, r.waypost)
	return w, nil
}

// depart applies what departs for all names.
func (f *corefile) depart(r *reply, w want) want {
	for _, d := range forwardDepartures {
		if changed := d.apply(f, r, w.Answer); changed != nil {
			if compare.Difference(changed, w.Answer) != "" {
				w.applied = append(w.applied, d.name)
			}
			w.Answer = changed
		}
	}
	return w
}

// reference is a CoreDNS that has the kubernetes directives of a file and nothing else, to tell what departs.
type reference struct {
	place  *place
	oracle *compare.Oracle
	server netip.AddrPort
	conns  sync.Pool
}

// firstReference is the number of the first reference's place.
const firstReference = 200

// references are made once per text.
type references struct {
	mu     sync.Mutex
	byText map[string]*reference
}

// of is the reference for a file, nil for one without a cluster.
func (rs *references) of(t *testing.T, run *corefileRun, f *corefile) *reference {
	t.Helper()
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if f.kubed == "" || rs.byText[f.kubed] != nil {
		return rs.byText[f.kubed]
	}
	if rs.byText == nil {
		rs.byText = map[string]*reference{}
	}
	p, err := run.newPlace(&corefile{text: f.kubed}, "coredns", "CoreDNS-", firstReference+len(rs.byText))
	run.t.Cleanup(p.close)
	if err != nil {
		t.Fatal(err)
	}
	if started, err := p.started(run.t.Context()); err != nil || !started {
		t.Fatalf("the reference: %v\n%s", err, p.LogEnd(20))
	}
	if err := p.synced(run.t.Context(), &corefile{targets: []target{{port: 53, kube: true}}, zones: f.zones}); err != nil {
		t.Fatal(err)
	}
	server := netip.AddrPortFrom(p.ip4, 53)
	v := variant{corefile: f.kubed, reverse: []string{}}
	for _, zone := range f.zones {
		if strings.HasSuffix(zone, "arpa.") {
			v.reverse = append(v.reverse, zone)
		} else {
			v.zones = append(v.zones, zone)
		}
	}
	ref := &reference{place: p, server: server, oracle: newOracle(run.t, run.control, server, run.vocabulary, v)}
	rs.byText[f.kubed] = ref
	return ref
}

// ask asks the reference a question as it is.
func (ref *reference) ask(q *question.Question) (*compare.Answer, error) {
	conn, _ := ref.conns.Get().(*ask.Conn)
	if conn == nil {
		var err error
		if conn, err = ask.Dial(ref.server); err != nil {
			return nil, err
		}
		conn.Timeout, conn.Tries = replyTimeout, 1
	}
	defer ref.conns.Put(conn)
	return exchange(conn, q)
}
