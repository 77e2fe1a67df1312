package records

import (
	"bytes"
	"net/netip"

	"github.com/waypost/waypost/message"
)

// findPod is a name that ends in "pod": ADDRESS.NAMESPACE.pod.ZONE. Like CoreDNS it does not look at up to two labels
// before the address.
func (z *Zone) findPod(q *message.Query, k int) found {
	if k > 5 || z.plan.Pods == PodsDisabled || !z.namespace(q, k-2) {
		return found{}
	}
	if k == 2 {
		return found{what: node}
	}
	addr, canonical := podAddress(q.Label(k - 3))
	if !addr.IsValid() {
		return found{}
	}
	f := found{what: pod, addr: addr}
	if z.plan.Pods == PodsInsecure {
		return f
	}
	key := q.Lower()[q.Start(k-2):q.Start(k-1)]
	for _, ref := range z.pods.get(addr) {
		if canonical && ref.id.key == string(key) {
			f.refs = append(f.refs, ref)
		}
	}
	if len(f.refs) == 0 {
		return found{}
	}
	return f
}

// podAddress reads a Pod's label: an address with dashes for its dots or colons. Exactly three dashes, none of them
// doubled, make IPv4. It also reports whether the address is written the one way that a Pod's status has it.
func podAddress(label []byte) (addr netip.Addr, canonical bool) {
	if bytes.Count(label, []byte("-")) == 3 && !bytes.Contains(label, []byte("--")) {
		var ip [4]byte
		for i := range ip {
			part := label
			if dash := bytes.IndexByte(label, '-'); dash >= 0 {
				part, label = label[:dash], label[dash+1:]
			}
			octet, ok := parseOctet(part)
			if !ok {
				return netip.Addr{}, false
			}
			ip[i] = octet
		}
		return netip.AddrFrom4(ip), true
	}
	text := string(bytes.ReplaceAll(label, []byte("-"), []byte(":")))
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" || bytes.IndexByte(label, '.') >= 0 {
		return netip.Addr{}, false
	}
	return addr.Unmap(), addr.String() == text
}

// writePod answers a Pod's name with its address, or with an SRV record of port 0 that points to itself.
//
//	dig 10-244-1-10.prod.pod.cluster.local
func (z *Zone) writePod(q *message.Query, r *message.Reply, owner int, f *found, zone *zoneInfo) {
	switch q.Type {
	case familyType(f.addr):
		writeAddress(r, message.Answer, owner, f.addr, z.plan.TTL)
	case message.TypeSRV:
		k := q.Labels() - zone.labels
		record := srvRecord{srvTarget: srvTarget{host: "", port: 0}, glue: []netip.Addr{f.addr}}
		set := srvSet{record.append(nil, uint16(max(1, 100/max(1, len(f.refs)))))}
		labels := q.Lower()[q.Start(k-3):q.Start(k)]
		set.write(r, owner, srvName{prefix: string(labels), zone: q.Name()[q.Start(k):]}, z.plan.TTL)
	}
}
