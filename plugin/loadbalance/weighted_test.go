package loadbalance_test

import (
	"math"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/plugin/plugintest"
)

const weightsText = `# a comment

Www.example.org
	10.0.0.1 3
 10.0.0.2	1
10.0.0.2 200
::ffff:10.0.0.3 2
fd00::1 5
a.example.org.
10.0.0.9 6
other.example.org
10.0.0.2 255
`

// TestWeighted: how often an address comes first is as its weight in the file has it. The bound is five standard deviations.
func TestWeighted(t *testing.T) {
	for _, tt := range []struct {
		name  string
		given string
		typ   uint16
		want  map[string]int // the weight of each address, of those in additional with a +
	}{
		{
			"addresses", `www.example.org. 5 IN A 10.0.0.2
			www.example.org. 5 IN A 10.0.0.1
			www.example.org. 5 IN A 10.0.0.3`,
			dns.TypeA, map[string]int{"10.0.0.1": 3, "10.0.0.2": 1, "10.0.0.3": 2},
		},
		{
			"one that is not in the file", `www.example.org. 5 IN AAAA fd00::1
			www.example.org. 5 IN AAAA fd00::2`,
			dns.TypeAAAA, map[string]int{"fd00::1": 5, "fd00::2": 1},
		},
		{
			"a name that is not in the file", `x.example.org. 5 IN A 10.0.0.1
			x.example.org. 5 IN A 10.0.0.2`,
			dns.TypeA, map[string]int{"10.0.0.1": 1, "10.0.0.2": 1},
		},
		{
			"behind an alias", `x.example.org. 5 IN CNAME www.example.org.
			www.example.org. 5 IN A 10.0.0.1
			www.example.org. 5 IN A 10.0.0.2`,
			dns.TypeA, map[string]int{"10.0.0.1": 3, "10.0.0.2": 1},
		},
		{
			"another letter case", `WWW.example.ORG. 5 IN A 10.0.0.1
			WWW.example.ORG. 5 IN A 10.0.0.2`,
			dns.TypeA, map[string]int{"10.0.0.1": 3, "10.0.0.2": 1},
		},
		{
			"targets of SRV", `x.example.org. 5 IN SRV 0 0 80 www.example.org.
			x.example.org. 5 IN SRV 0 0 80 a.example.org.
			additional
			www.example.org. 5 IN A 10.0.0.1
			a.example.org. 5 IN A 10.0.0.9`,
			dns.TypeSRV, map[string]int{"+10.0.0.1": 3, "+10.0.0.9": 6},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := step(t, "loadbalance weighted "+weightFile(t, weightsText))
			m, q := records(t, tt.given), plugintest.Ask(t, "x.example.org.", tt.typ)
			const rounds = 3000
			first := map[string]int{}
			for range rounds {
				reply := plugintest.Message(t, balance(t, b, q, m))
				if got := firstAddress(reply.Answer); got != "" {
					first[got]++
				}
				if got := firstAddress(reply.Extra); got != "" {
					first["+"+got]++
				}
			}
			sum := 0
			for _, weight := range tt.want {
				sum += weight
			}
			for address, weight := range tt.want {
				p := float64(weight) / float64(sum)
				if n := float64(first[address]); math.Abs(n-rounds*p) > 5*math.Sqrt(rounds*p*(1-p)) {
					t.Errorf("%s comes first %v times of %d, its weight is %d of %d", address, n, rounds, weight, sum)
				}
			}
			if len(first) != len(tt.want) {
				t.Errorf("first come %v", first)
			}
		})
	}
}

// firstAddress is the first one of a section.
func firstAddress(section []dns.RR) string {
	for _, rr := range section {
		switch rr := rr.(type) {
		case *dns.A:
			return rr.A.String()
		case *dns.AAAA:
			return rr.AAAA.String()
		}
	}
	return ""
}

// TestWeightedOrder has replies of which each record has its place, as there is one address to draw in a section, or none.
func TestWeightedOrder(t *testing.T) {
	const mixed = `www.example.org. 5 IN MX 1 mail.example.org.
www.example.org. 5 IN A 10.0.0.1
www.example.org. 5 IN TXT "other"
x.example.org. 5 IN CNAME www.example.org.
authority
example.org. 5 IN A 10.0.0.7
example.org. 5 IN NS ns.example.org.
additional
www.example.org. 5 IN MX 1 mail.example.org.
www.example.org. 5 IN TXT "no address"
`
	for _, tt := range []struct {
		name, want string
		typ        uint16
	}{
		{
			"with an address", `x.example.org. 5 IN CNAME www.example.org.
www.example.org. 5 IN TXT "other"
www.example.org. 5 IN A 10.0.0.1
www.example.org. 5 IN MX 1 mail.example.org.
authority
example.org. 5 IN A 10.0.0.7
example.org. 5 IN NS ns.example.org.
additional
www.example.org. 5 IN MX 1 mail.example.org.
www.example.org. 5 IN TXT "no address"
`, dns.TypeSRV,
		},
		{"another type", mixed, dns.TypeMX},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := step(t, "loadbalance weighted "+weightFile(t, weightsText))
			r := balance(t, b, plugintest.Ask(t, "x.example.org.", tt.typ), records(t, mixed))
			if got := presented(plugintest.Message(t, r)); got != tt.want {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
		})
	}
}

// TestWeightedCut: the address that comes first is drawn from all, also from those that are too much for the client.
func TestWeightedCut(t *testing.T) {
	m := new(dns.Msg)
	for range 39 {
		m.Answer = append(m.Answer, records(t, "x.example.org. 5 IN A 10.0.0.1").Answer...)
	}
	m.Answer = append(m.Answer, records(t, "x.example.org. 5 IN A 10.0.0.2").Answer...)
	b := step(t, "loadbalance weighted "+weightFile(t, "x.example.org\n10.0.0.2 255"))
	const rounds, p = 1000, 255. / 294
	n := 0
	for range rounds {
		reply := plugintest.Message(t, balance(t, b, plugintest.Ask(t, "x.example.org.", dns.TypeA), m))
		if !reply.Truncated || len(reply.Answer) != (512-12-15-4)/16 {
			t.Fatalf("%d addresses, truncated %t", len(reply.Answer), reply.Truncated)
		}
		if firstAddress(reply.Answer) == "10.0.0.2" {
			n++
		}
	}
	if math.Abs(float64(n)-rounds*p) > 5*math.Sqrt(rounds*p*(1-p)) {
		t.Errorf("comes first %d times of %d", n, rounds)
	}
}
