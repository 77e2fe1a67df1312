package config

import "fmt"

// Listener is one zone at one address: what a key becomes once its block's bind directive is known.
type Listener struct {
	Key     Key
	Address string // as bind resolved it; "" listens on all addresses
	View    bool   // the block takes only some clients, and may share its zone with other blocks
}

// String is the listener as CoreDNS's messages write it: "dns://.:53 on 127.0.0.1".
func (l Listener) String() string {
	if l.Address == "" {
		return l.Key.String()
	}
	return l.Key.String() + " on " + l.Address
}

// CheckListeners finds a zone that is served twice at one address, or bound to an address in one place and to all of
// them in another, where it would depend on the kernel who answers. The listeners stand in the order of the file.
func CheckListeners(listeners []Listener) error {
	taken := map[string]Listener{}   // by zone and address
	sharers := map[string]Listener{} // by zone: the last one that has it, bound or not
	for _, l := range listeners {
		zone := l.Key.String()
		first, same := taken[l.String()]
		if same && !l.View {
			return fmt.Errorf("cannot serve %s - it is already defined (%s, first in %s)", l, l.Key.Pos, first.Key.Pos)
		}
		if other, ok := sharers[zone]; ok && !same {
			unbound, wide := taken[zone]
			switch {
			case l.Address == "":
				return overlap(l, other)
			case wide:
				return overlap(l, unbound)
			}
		}
		if !l.View {
			taken[l.String()], sharers[zone] = l, l
		}
	}
	return nil
}

func overlap(l, other Listener) error {
	return fmt.Errorf("cannot serve %s - zone overlap listener capacity with %s (%s and %s)", l, other, l.Key.Pos, other.Key.Pos)
}
