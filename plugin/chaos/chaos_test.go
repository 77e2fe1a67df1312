package chaos_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/chaos"
	"github.com/waypost/waypost/plugin/plugintest"
)

func TestParseErrors(t *testing.T) {
	tests := []struct{ lines, want string }{
		{"chaos {\nx\n}", "Corefile:3 - Error during parsing: unknown property 'x'"},
		{"chaos a b {\nx\n}", "Corefile:3 - Error during parsing: unknown property 'x'"},
	}
	for _, tt := range tests {
		if _, err := chaos.Parse(plugintest.Directive(t, tt.lines)); fmt.Sprint(err) != tt.want {
			t.Errorf("%q:\ngot  %v\nwant %s", tt.lines, err, tt.want)
		}
	}
}

func TestServe(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 256)
	tests := []struct {
		name, lines string
		question    string
		typ, class  uint16
		want        string // "next", or the response code and the texts, sorted
	}{
		{"version", "chaos", "version.bind.", dns.TypeTXT, dns.ClassCHAOS, `NOERROR "Waypost-1.2.3"`},
		{"its other name", "chaos", "Version.Server.", dns.TypeTXT, dns.ClassCHAOS, `NOERROR "Waypost-1.2.3"`},
		{"a version of one's own", "chaos 9", "version.bind.", dns.TypeTXT, dns.ClassCHAOS, `NOERROR "9"`},
		{"the first line counts", "chaos 9\nchaos 8", "version.bind.", dns.TypeTXT, dns.ClassCHAOS, `NOERROR "9"`},
		{"cut", "chaos " + long, "version.bind.", dns.TypeTXT, dns.ClassCHAOS, `NOERROR "` + long[1:] + `"`},
		{"host", "chaos", "hostname.bind.", dns.TypeTXT, dns.ClassCHAOS, `NOERROR "` + host + `"`},
		{"its other name", "chaos", "id.server.", dns.TypeTXT, dns.ClassCHAOS, `NOERROR "` + host + `"`},
		{"authors", "chaos", "authors.bind.", dns.TypeTXT, dns.ClassCHAOS, `NOERROR "The Waypost authors"`},
		{"authors of one's own", "chaos v bob eve bob " + long, "authors.bind.", dns.TypeTXT, dns.ClassCHAOS, `NOERROR "bob" "eve" "` + long[1:] + `"`},
		{"another name", "chaos", "server.", dns.TypeTXT, dns.ClassCHAOS, "REFUSED"},
		{"another type", "chaos", "version.bind.", dns.TypeA, dns.ClassCHAOS, "REFUSED"},
		{"class IN", "chaos", "version.bind.", dns.TypeTXT, dns.ClassINET, "next"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, err := chaos.Parse(plugintest.Directive(t, tt.lines))
			if err != nil {
				t.Fatal(err)
			}
			e, _ := plugintest.Env(t, "chaos", journal.Text)
			request := new(dns.Msg).SetQuestion(tt.question, tt.typ).SetEdns0(4096, false)
			request.Question[0].Qclass = tt.class
			q := plugintest.Query(t, request)
			r := plugintest.Begin(q)
			if v := chaos.New(o, e).Serve(q, r); (v == message.Next) != (tt.want == "next") {
				t.Fatalf("verdict %d", v)
			}
			if got := text(t, plugintest.Message(t, r), tt.question); tt.want != "next" && got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// text is a reply in a few words. Its records have to be of class CH and TTL 0, and the name's own.
func text(t *testing.T, m *dns.Msg, owner string) string {
	var texts []string
	for _, rr := range m.Answer {
		texts = append(texts, rr.(*dns.TXT).String()[len(rr.Header().String()):])
		if h := rr.Header(); h.Class != dns.ClassCHAOS || h.Ttl != 0 || h.Name != owner {
			t.Errorf("got %v", rr)
		}
	}
	if m.Authoritative {
		t.Error("authoritative")
	}
	slices.Sort(texts)
	return strings.Join(append([]string{dns.RcodeToString[m.Rcode]}, texts...), " ")
}
