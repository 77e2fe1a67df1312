package loadbalance

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/waypost/waypost/message"
)

// arrangement is a reply whose records are being put in another order. It is used again for each.
type arrangement struct {
	sections [3][]record
	order    [3][]int
	packer   message.Packer
	name     [message.MaxNameLen]byte
}

// record is what there is to know of a record for its place.
type record struct {
	at   int // where it stands in the reply
	kind kind
	addr netip.Addr // of an address
	rank int        // of an address: which of the preferred networks it is in
}

// kind is what a record is for.
type kind uint8

const (
	alias kind = iota
	other
	address
	exchange // of mail
)

func kindOf(t message.Type) kind {
	switch t {
	case message.TypeCNAME:
		return alias
	case message.TypeA, message.TypeAAAA:
		return address
	case message.TypeMX:
		return exchange
	}
	return other
}

// read takes note of the records of a reply.
func (a *arrangement) read(r *message.Reply) {
	for i := range a.sections {
		a.sections[i] = a.sections[i][:0]
	}
	for c := r.Cursor(); c.Next(); {
		record := record{at: c.Owner(), kind: kindOf(c.Type)}
		if record.kind == address {
			addr, _ := netip.AddrFromSlice(c.Data)
			record.addr = addr.Unmap()
		}
		a.sections[c.Section] = append(a.sections[c.Section], record)
	}
}

// prefer puts addresses and MX records of each section in random order, but addresses of preferred networks first.
func (a *arrangement) prefer(networks []netip.Prefix) {
	for section, records := range a.sections {
		if message.Section(section) == message.Authority {
			group(records, alias, other, address, exchange)
		} else {
			group(records, alias, address, exchange, other)
		}
		addresses := of(address, records)
		shuffle(addresses)
		shuffle(of(exchange, records))
		if message.Section(section) == message.Authority {
			continue
		}
		for i := range addresses {
			addresses[i].rank = rank(addresses[i].addr, networks)
		}
		slices.SortStableFunc(addresses, func(x, y record) int { return cmp.Compare(x.rank, y.rank) })
	}
}

// draw has one address of each section stand first, drawn by weight. It changes places with the one that did.
func (a *arrangement) draw(r *message.Reply, w weights) {
	for section, records := range a.sections {
		if message.Section(section) == message.Authority || len(of(address, records)) == 0 {
			continue
		}
		group(records, alias, other, address, exchange)
		addresses, sum, first := of(address, records), 0, 0
		for i, record := range addresses {
			weight := a.weight(r, w, record)
			if sum += weight; rand.IntN(sum) < weight {
				first = i
			}
		}
		addresses[0], addresses[first] = addresses[first], addresses[0]
	}
}

// weight is that of an address; one that the file does not have for its owner has the least.
func (a *arrangement) weight(r *message.Reply, w weights, address record) int {
	c := r.Cursor()
	owner := c.AppendLower(a.name[:0], address.at)
	return max(1, int(w[message.Name(owner)][address.addr]))
}

// rank is which of the networks, in their order, an address is in; it is their number for an address in none.
func rank(addr netip.Addr, networks []netip.Prefix) int {
	for i, n := range networks {
		if n.Contains(addr) {
			return i
		}
	}
	return len(networks)
}

// group puts the records of one kind together, and the kinds in an order. Aliases come first, as some resolvers in C
// libraries want it.
func group(records []record, order ...kind) {
	slices.SortStableFunc(records, func(x, y record) int {
		return cmp.Compare(slices.Index(order, x.kind), slices.Index(order, y.kind))
	})
}

// of are the records of a kind, which stand together.
func of(k kind, records []record) []record {
	from := 0
	for from < len(records) && records[from].kind != k {
		from++
	}
	to := from
	for to < len(records) && records[to].kind == k {
		to++
	}
	return records[from:to]
}

func shuffle(records []record) {
	rand.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
}

// write gives the reply the order, where that is another one.
func (a *arrangement) write(r *message.Reply) {
	same := true
	for i, records := range a.sections {
		a.order[i] = a.order[i][:0]
		for _, record := range records {
			a.order[i] = append(a.order[i], record.at)
		}
		same = same && slices.IsSorted(a.order[i])
	}
	if !same {
		_ = a.packer.Arrange(r, &a.order) // a reply that would become too long stays as it is
	}
}
