package hosts

import (
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/waypost/waypost/message"
)

// FuzzRead holds what is read against a naive reading of the whole text.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"10.0.0.1 a.example b.example # c\n", "fd00::1%eth0\ta.example\r\n::ffff:10.0.0.1 *.a.example", "#\n10.0.0.1#a.example\n10.0.0.1 a#b\nx y",
		"10.0.0.1 a..example " + strings.Repeat("y", 1025) + "\n" + strings.Repeat("1", 1024) + " a.example", "\v10.0.0.1\f*.example\n1 a.example",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		warnings := 0
		r := &reader{zones: []message.Name{"\x07example\x00"}, warn: func(string) { warnings++ }}
		got := r.read(text)
		want, long := naive(string(text))
		if !reflect.DeepEqual(got, want) || warnings != long {
			t.Errorf("got  %+v, %d warnings\nwant %+v, %d", got, warnings, want, long)
		}
		newTable(5, got, want)
	})
}

// naive reads a hosts file for the zone "example.".
func naive(text string) (e *entries, long int) {
	e = &entries{
		names: map[message.Name]addresses{}, wild: map[message.Name]addresses{}, ptrs: map[netip.Addr][]message.Name{},
	}
	for line := range strings.SplitSeq(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.FieldsFunc(line, func(r rune) bool { return r < 128 && strings.ContainsRune(" \t\v\f\r", r) })
		if len(fields) == 0 {
			continue
		}
		if len(fields[0]) > 1024 {
			long++
			continue
		}
		host, _, _ := strings.Cut(fields[0], "%")
		ip, ok := netip.AddrFromSlice(net.ParseIP(host))
		for _, field := range fields[1:] {
			name, err := message.ParseName(field)
			switch {
			case !ok:
			case len(field) > 1024:
				long++
			case err == nil && name.Under("\x07example\x00"):
				e.put(name, ip.Unmap())
			}
		}
	}
	return e, long
}

func (e *entries) put(name message.Name, ip netip.Addr) {
	e.count++
	key, names := name, e.names
	if strings.HasPrefix(name.String(), "*.") {
		key, names = name.Parent(), e.wild
	} else {
		e.ptrs[ip] = append(e.ptrs[ip], name)
		e.count++
	}
	a := names[key]
	if ip.Is4() {
		a.v4 = append(a.v4, ip)
	} else {
		a.v6 = append(a.v6, ip)
	}
	names[key] = a
}
