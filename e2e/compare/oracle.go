package compare

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"github.com/waypost/waypost/e2e/ask"
	"github.com/waypost/waypost/e2e/question"
)

// Oracle answers what the departures need to know of the cluster by asking CoreDNS other questions: whether a name
// exists, how its NODATA answer looks, what the target of a CNAME has.
type Oracle struct {
	Zones    []string            // that the kubernetes directives serve, lower case
	External map[string]string   // targets of ExternalName Services, by their lower-case names
	Unnamed  map[string][]string // PTR targets of addresses that slices without a Service have as well, by reverse name

	server netip.AddrPort
	conns  sync.Pool
	nodes  map[string]bool // names above the names that exist, lower case
	memo   sync.Map        // whether names exist, by lower-case name
}

// NewOracle prepares to ask the CoreDNS at server about zones. The names are those that the questions are made of; it asks
// for each of them once, to know which exist.
func NewOracle(server netip.AddrPort, zones []string, external map[string]string, unnamed map[string][]string, names []string) (*Oracle, error) {
	o := &Oracle{Zones: zones, External: external, Unnamed: unnamed, server: server, nodes: map[string]bool{}}
	exist := make([]bool, len(names))
	err := parallel(len(names), func(i int) (err error) {
		exist[i], err = o.exact(strings.ToLower(names[i]))
		return err
	})
	for i, name := range names {
		if exist[i] {
			o.addAbove(strings.ToLower(name))
		}
	}
	return o, err
}

// parallel calls do for each number below n, some at once, until one fails.
func parallel(n int, do func(i int) error) error {
	var next atomic.Int64
	var group errgroup.Group
	for range workers {
		group.Go(func() error {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// addAbove marks the names between name and its zone's apex.
func (o *Oracle) addAbove(name string) {
	zone := o.Zone(name)
	for name != zone {
		_, name, _ = strings.Cut(name, ".") // names of the cluster hold no escaped dots
		o.nodes[name] = true
	}
}

// Zone returns the longest zone that a name is in, lower case; "" if it is in none.
func (o *Oracle) Zone(name string) string {
	var best string
	for _, zone := range o.Zones {
		if len(zone) > len(best) && dns.IsSubDomain(zone, strings.ToLower(name)) {
			best = zone
		}
	}
	return best
}

// Exists reports whether a name has records of any type, or names below it.
func (o *Oracle) Exists(name string) (exists, between bool, err error) {
	name = strings.ToLower(name)
	exists, err = o.exact(name)
	if !exists && o.nodes[name] {
		return true, true, err
	}
	return exists, false, err
}

// exact reports whether CoreDNS has anything at a name.
func (o *Oracle) exact(name string) (bool, error) {
	if known, ok := o.memo.Load(name); ok {
		return known.(bool), nil
	}
	exists := len(o.Unnamed[name]) > 0
	types := []uint16{dns.TypeA, dns.TypeTXT}
	if strings.HasSuffix(name, ".arpa.") {
		types = append(types, dns.TypePTR)
	}
	for _, t := range types {
		if _, silent := o.Unnamed[name]; exists || silent && t == dns.TypePTR {
			continue
		}
		a, err := o.Ask(name, t)
		if err == nil && a.None { // which says nothing about the name
			err = ask.ErrNoReply
		}
		if err != nil {
			return false, fmt.Errorf("ask CoreDNS whether %s exists: %w", name, err)
		}
		exists = a.Rcode == dns.RcodeSuccess && a.Flags&flagAA != 0
	}
	o.memo.Store(name, exists)
	return exists, nil
}

// Ask asks CoreDNS for a name over TCP, plainly.
func (o *Oracle) Ask(name string, qtype uint16) (*Answer, error) {
	packet, err := new(dns.Msg).SetQuestion(name, qtype).Pack()
	if err != nil {
		return nil, fmt.Errorf("pack a question for %q: %w", name, err)
	}
	return o.exchange(&question.Question{Packet: packet, TCP: true})
}

// AskLike asks CoreDNS the question c, but for another type, and makes the answer look as if it were to c.
func (o *Oracle) AskLike(q *question.Question, qtype uint16) (*Answer, error) {
	packet := append([]byte(nil), q.Packet...)
	_, end, err := dns.UnpackDomainName(packet, headerLen)
	if err != nil {
		return nil, fmt.Errorf("change the type of a question: %w", err)
	}
	binary.BigEndian.PutUint16(packet[end:], qtype)
	a, err := o.exchange(&question.Question{Packet: packet, TCP: q.TCP})
	if err != nil || a.None {
		return a, err
	}
	a.Question = string(q.Packet[headerLen : end+4])
	return a, nil
}

// Whole asks CoreDNS the question itself, over TCP.
func (o *Oracle) Whole(q *question.Question) (*Answer, error) {
	return o.exchange(&question.Question{Packet: q.Packet, TCP: true})
}

func (o *Oracle) exchange(q *question.Question) (*Answer, error) {
	conn, _ := o.conns.Get().(*ask.Conn)
	if conn == nil {
		var err error
		if conn, err = ask.Dial(o.server); err != nil {
			return nil, err
		}
		conn.Timeout, conn.Tries = patience, 2
	}
	defer o.conns.Put(conn)
	return exchange(conn, q)
}

// exchange asks a question and takes the answer apart.
func exchange(conn *ask.Conn, q *question.Question) (*Answer, error) {
	send := conn.UDP
	if q.TCP {
		send = conn.TCP
	}
	packet, err := send(q.Packet)
	if errors.Is(err, ask.ErrNoReply) {
		return &Answer{None: true}, nil
	}
	if err != nil {
		return nil, err
	}
	return Parse(packet)
}
