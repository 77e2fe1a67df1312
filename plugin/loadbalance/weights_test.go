package loadbalance

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/waypost/waypost/message"
)

func TestParseWeights(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", "map[]"},
		{"a.example\n10.0.0.1 1\nfd00::1 255\n", "map[a.example.:map[10.0.0.1:1 fd00::1:255]]"},
		{"a.example\r\n10.0.0.1 1\r\n", "map[a.example.:map[10.0.0.1:1]]"},
		{"a.example\n10.0.0.1 1\nB.example.\na.example.\n10.0.0.2 2\n10.0.0.1 3", "map[a.example.:map[10.0.0.1:1 10.0.0.2:2] b.example.:map[]]"},
		{"a..example\n10.0.0.1 1", "map[]"},
		{"#a\n\n10.0.0.1", `weight file F:3: wrong domain name:"10.0.0.1" (maybe a missing weight value?)`},
		{"10.0.0.1 1", "weight file F:1: missing domain name"},
		{"a.example\nb.example 1", `weight file F:2: wrong IP address:"b.example"`},
		{"a.example\nfe80::1%eth0 1", `weight file F:2: wrong IP address:"fe80::1%eth0"`},
		{"a.example\n10.0.0.1 0", `weight file F:2: wrong weight value:"0"`},
		{"a.example\n10.0.0.1 256", `weight file F:2: wrong weight value:"256"`},
		{"a.example\n10.0.0.1 -1", `weight file F:2: wrong weight value:"-1"`},
		{"a.example\n 10.0.0.1 1 # one", `weight file F:2: could not parse weight line:"10.0.0.1 1 # one"`},
	} {
		w, err := parseWeights("F", []byte(tt.text))
		got := fmt.Sprint(w)
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%q:\ngot  %s\nwant %s", tt.text, got, tt.want)
		}
	}
}

// FuzzParseWeights holds what is read against a naive reading that keeps a list of lines for each name.
func FuzzParseWeights(f *testing.F) {
	for _, seed := range []string{
		"a.example\n10.0.0.1 1\n10.0.0.1 2\n::ffff:10.0.0.1 3\n", "# c\n\tA.example.\r\nfd00::1\v255\na..b\n10.0.0.1 1", "10.0.0.1", "10.0.0.1 1", "a b c",
		"a\n10.0.0.1 0", "a\\.b\n1.2.3.4 07",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := parseWeights("F", text)
		want, ok := naive(string(text))
		if (err == nil) != ok || ok && !reflect.DeepEqual(got, want) {
			t.Errorf("got  %v, %v\nwant %v, %t", got, err, want, ok)
		}
	})
}

// naive reads a weight file whole line by whole line.
func naive(text string) (weights, bool) {
	type line struct {
		name, address string
		weight        int
	}
	var all []line
	name, w := "", weights{}
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 0 || words[0][0] == '#':
		case len(words) == 1 && net.ParseIP(words[0]) == nil:
			name = words[0]
			if wire, err := message.ParseName(name); err == nil && w[wire] == nil {
				w[wire] = map[netip.Addr]uint8{}
			}
		case len(words) == 2 && net.ParseIP(words[0]) != nil && name != "":
			n, err := strconv.ParseUint(words[1], 10, 64)
			if err != nil || n < 1 || n > 255 {
				return nil, false
			}
			all = append(all, line{name, words[0], int(n)})
		default:
			return nil, false
		}
	}
	for i := len(all) - 1; i >= 0; i-- { // the first one stays
		if wire, err := message.ParseName(all[i].name); err == nil {
			addr, _ := netip.ParseAddr(net.ParseIP(all[i].address).String())
			w[wire][addr.Unmap()] = uint8(all[i].weight)
		}
	}
	return w, true
}
