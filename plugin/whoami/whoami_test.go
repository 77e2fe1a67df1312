package whoami_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/plugintest"
	"github.com/waypost/waypost/plugin/whoami"
)

func TestParse(t *testing.T) {
	if err := whoami.Parse(plugintest.Directive(t, "whoami")); err != nil {
		t.Error(err)
	}
	err := whoami.Parse(plugintest.Directive(t, "whoami a"))
	if want := "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after 'a'"; fmt.Sprint(err) != want {
		t.Errorf("got %v", err)
	}
}

func TestServe(t *testing.T) {
	long := strings.Repeat("a.", 125) + "." // 252 bytes in wire form
	tests := []struct {
		name      string
		from      string
		transport message.Transport
		want      string
	}{
		{"Www.example.org.", "192.0.2.7:40212", message.UDP,
			"Www.example.org.\t0\tIN\tA\t192.0.2.7\n_udp.Www.example.org.\t0\tIN\tSRV\t0 0 40212 .\n"},
		{".", "[::ffff:192.0.2.7]:1", message.TCP, ".\t0\tIN\tA\t192.0.2.7\n_tcp.\t0\tIN\tSRV\t0 0 1 .\n"},
		{"a.", "[2001:db8::7]:1", message.UDP, "a.\t0\tIN\tAAAA\t2001:db8::7\n_udp.a.\t0\tIN\tSRV\t0 0 1 .\n"},
		{long[:len(long)-1], "192.0.2.7:1", message.UDP, long[:len(long)-1] + "\t0\tIN\tA\t192.0.2.7\n"},
	}
	for _, tt := range tests {
		q := plugintest.Ask(t, tt.name, dns.TypeTXT)
		q.From, q.Transport = netip.MustParseAddrPort(tt.from), tt.transport
		r := plugintest.Begin(q)
		if v := (whoami.Whoami{}).Serve(q, r); v != message.Done {
			t.Fatalf("verdict %d", v)
		}
		m := plugintest.Message(t, r)
		got := ""
		for _, rr := range m.Extra {
			got += rr.String() + "\n"
		}
		if got != tt.want || len(m.Answer)+len(m.Ns) > 0 || !m.Authoritative || m.Rcode != dns.RcodeSuccess {
			t.Errorf("got %v\nwant %s", m, tt.want)
		}
	}
}
