// Package whole gives replies and requests as whole messages of miekg/dns, to the directives that truly need that: whose
// records are made of text, or change as text. It costs some microseconds each way.
package whole

import (
	"fmt"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
)

// Read returns the reply as it is now, without OPT.
func Read(r *message.Reply) (*dns.Msg, error) {
	m := new(dns.Msg)
	if err := m.Unpack(r.Wire()); err != nil {
		return nil, fmt.Errorf("reading our own reply: %w", err)
	}
	m.Rcode = int(r.Rcode)
	return m, nil
}

// longest is the longest message, in bytes, but for an OPT record.
const longest = message.MaxLen - 11

// Write makes r, which has no records yet, the reply that m is: its response code, the bits AA, TC, RA and AD, and its
// records but for OPT. Those that are too much for the client are left out. It returns an error for records that cannot be
// sent; r is then still without any.
func Write(q *message.Query, r *message.Reply, m *dns.Msg) error {
	name, _, err := dns.UnpackDomainName(r.Question(), 0)
	if err != nil {
		return fmt.Errorf("reading the question: %w", err)
	}
	out := *m
	out.Response, out.Compress, out.Rcode = true, true, m.Rcode&0xF
	// Records are of the class that the steps were asked for.
	out.Question = []dns.Question{{Name: name, Qtype: uint16(q.Type), Qclass: uint16(q.Class)}}
	packet, err := out.Pack()
	if err == nil && len(packet) > longest { // more than even TCP can carry
		out.Truncate(longest)
		packet, err = out.Pack()
	}
	if err != nil {
		return fmt.Errorf("packing a reply: %w", err)
	}
	var p message.Packer
	packed, err := p.Pack(packet, packet[message.HeaderLen:message.HeaderLen+len(r.Question())], r.Shuffle)
	if err != nil {
		return fmt.Errorf("packing a reply: %w", err)
	}
	r.Take(packed)
	r.Rcode = message.Rcode(m.Rcode)
	return nil
}

// Request is the query, as the steps see it.
func Request(q *message.Query) (*dns.Msg, error) {
	name, _, err := dns.UnpackDomainName(q.Name(), 0)
	if err != nil {
		return nil, fmt.Errorf("reading a question: %w", err)
	}
	m := &dns.Msg{Question: []dns.Question{{Name: name, Qtype: uint16(q.Type), Qclass: uint16(q.Class)}}}
	m.Id = q.ID
	m.RecursionDesired, m.CheckingDisabled = q.Bits&message.BitRD != 0, q.Bits&message.BitCD != 0
	m.AuthenticatedData, m.Authoritative = q.Bits&message.BitAD != 0, q.Bits&message.BitAA != 0
	m.RecursionAvailable, m.Zero, m.Truncated = q.Bits&message.BitRA != 0, q.Bits&message.BitZ != 0, q.Bits&message.BitTC != 0
	if q.EDNS.Present {
		m.SetEdns0(q.EDNS.UDPSize, q.EDNS.DO)
	}
	return m, nil
}

// Resolve asks the server itself for a name, on behalf of q. It waits, and so is for queries off the socket loop. It
// returns an error for a name that is none, and for a reply that cannot be read.
func Resolve(q *message.Query, name string, typ uint16) (*dns.Msg, error) {
	wire, err := message.PackName(name)
	if err != nil {
		return nil, err
	}
	reply, _ := q.Resolver.Resolve(q, message.Name(wire), message.Type(typ))
	m := new(dns.Msg)
	if err := m.Unpack(reply); err != nil {
		return nil, fmt.Errorf("reading the reply for %s: %w", name, err)
	}
	return m, nil
}
