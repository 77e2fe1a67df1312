package upstreams

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/e2e/ask"
	"github.com/waypost/waypost/e2e/lab"
)

// startTimeout is how long a server may take until it answers.
const startTimeout = 30 * time.Second

func (u *Upstreams) startKnot(ctx context.Context, o Options) (err error) {
	zones := slices.Concat(ownZones, o.Zones)
	slices.Sort(zones)
	zones = slices.Compact(zones)
	var conf strings.Builder
	fmt.Fprintf(&conf, "server:\n  rundir: %q\n  nsid: \"\"\n  identity: \"\"\n  version: \"\"\n", u.folder)
	for _, a := range append([]netip.AddrPort{knotInside, knotByName}, o.Authoritative...) {
		fmt.Fprintf(&conf, "  listen: %s@%d\n", a.Addr(), a.Port())
	}
	fmt.Fprintf(&conf, "log:\n - target: stderr\n   any: warning\ndatabase:\n  storage: %q\npolicy:\n - id: lab\n   nsec3: on\n", u.folder)
	fmt.Fprintf(&conf, "template:\n - id: default\n   storage: %q\n   journal-content: none\nzone:\n", u.folder)
	for i, zone := range zones {
		file := fmt.Sprintf("zone-%d", i)
		if err := u.write(file, []byte(zoneText(zone, zones))); err != nil {
			return err
		}
		fmt.Fprintf(&conf, " - domain: %q\n   file: %s\n", zone, file)
		if zone == SignedZone {
			fmt.Fprintf(&conf, "   dnssec-signing: on\n   dnssec-policy: lab\n   zonefile-sync: -1\n   zonefile-load: whole\n")
		}
	}
	if err := u.write("knot.conf", []byte(conf.String())); err != nil {
		return err
	}
	if u.knot, err = lab.StartProcess("knot", nil, "knotd", "-c", u.file("knot.conf")); err != nil {
		return err
	}
	return await(ctx, u.knot, knotInside, SignedZone, dns.TypeDNSKEY)
}

// await returns when a server answers a question with records, and fails when its process ends.
func await(ctx context.Context, p *lab.Process, server netip.AddrPort, name string, qtype uint16) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		m, err := look(server, name, qtype)
		if err == nil && len(m.Answer) > 0 {
			return nil
		}
		select {
		case <-p.Done():
			return fmt.Errorf("wait for %s: it has ended:\n%s", p.Name, p.LogEnd(20))
		case <-ctx.Done():
			return fmt.Errorf("wait for %s to answer %s %s: %w; last: %v; it says:\n%s", p.Name, name, dns.Type(qtype), ctx.Err(), err, p.LogEnd(20))
		case <-ticker.C:
		}
	}
}

// look asks a server plainly, over TCP.
func look(server netip.AddrPort, name string, qtype uint16) (*dns.Msg, error) {
	conn, err := ask.Dial(server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	question, err := new(dns.Msg).SetQuestion(name, qtype).Pack()
	if err != nil {
		return nil, fmt.Errorf("pack a question for %s: %w", name, err)
	}
	reply, err := conn.TCP(question)
	if err != nil {
		return nil, err
	}
	m := new(dns.Msg)
	return m, m.Unpack(reply)
}

// trustAnchor is the key that the signed zone is to be believed by, as a record.
func trustAnchor(ctx context.Context) (string, error) {
	m, err := look(knotInside, SignedZone, dns.TypeDNSKEY)
	if err != nil {
		return "", fmt.Errorf("ask Knot for the key of %s: %w", SignedZone, err)
	}
	for _, rr := range m.Answer {
		if key, ok := rr.(*dns.DNSKEY); ok && key.Flags&dns.SEP != 0 {
			return strings.Join(strings.Fields(key.String()), " "), nil
		}
	}
	return "", errors.Join(fmt.Errorf("Knot has no key that signs keys of %s", SignedZone), ctx.Err())
}
