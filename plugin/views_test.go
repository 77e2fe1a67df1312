package plugin_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestViews: of the server blocks that have a zone the first one whose view takes a query answers it, and what none takes goes
// to a shorter zone. All that is counted is counted under the view.
func TestViews(t *testing.T) {
	metrics := free(t)
	setup, out, err := compile(t, `
.:0 {
    bind 127.0.0.1
    view tcp {
        expr proto() == 'tcp'
        expr incidr(client_ip(), '127.0.0.0/8')
    }
    prometheus `+metrics+`
    errors
    cache
    template IN A {
        answer "{{ .Name }} 60 IN A 192.0.2.1"
    }
}
example.org:0 {
    bind 127.0.0.1
    view texts {
        expr type() == 'TXT'
    }
    prometheus `+metrics+`
    whoami
}
.:0 {
    bind 127.0.0.1
    prometheus `+metrics+`
    cache
    template IN A {
        answer "{{ .Name }} 60 IN A 192.0.2.2"
    }
}`)
	if err != nil {
		t.Fatal(err)
	}
	s := served(t, setup)[0]
	tests := []struct {
		network, name string
		typ           uint16
		want          string
	}{
		{"tcp", "a.example.", dns.TypeA, "NOERROR 192.0.2.1"},
		{"tcp", "a.example.", dns.TypeA, "NOERROR 192.0.2.1"},
		{"udp", "a.example.", dns.TypeA, "NOERROR 192.0.2.2"},
		{"tcp", "a.example.", dns.TypeTXT, "SERVFAIL"},
		{"udp", "www.example.org.", dns.TypeTXT, "NOERROR whoami"},
		{"tcp", "www.example.org.", dns.TypeTXT, "NOERROR whoami"},
		{"udp", "www.example.org.", dns.TypeA, "NOERROR 192.0.2.2"},
		{"tcp", "www.example.org.", dns.TypeA, "NOERROR 192.0.2.1"},
	}
	for _, tt := range tests {
		m := ask(t, s, tt.network, tt.name, tt.typ)
		got := dns.RcodeToString[m.Rcode]
		for _, rr := range m.Answer {
			got += " " + rr.(*dns.A).A.String()
		}
		if len(m.Extra) > 0 {
			got += " whoami"
		}
		if got != tt.want {
			t.Errorf("%s, %s %s: got %s, want %s", tt.network, tt.name, dns.TypeToString[tt.typ], got, tt.want)
		}
	}
	if got, want := out.text(), "plugin/errors: 2 a.example. TXT: plugin/view: no next plugin found\n"; !strings.HasSuffix(got, want) {
		t.Errorf("printed %s, want %s", got, want)
	}
	if got, want := setup.Listeners[0].Banner(), []string{".:0 on 127.0.0.1", "example.org.:0 on 127.0.0.1"}; !slices.Equal(got, want) {
		t.Errorf("banner %q, want %q", got, want)
	}
	counted := regexp.MustCompile(`(?m)^coredns_(dns_responses_total|plugin_enabled|cache_requests_total|cache_entries|template_matches_total).*\n`)
	want := `coredns_cache_entries{server="X",type="denial",view="",zones="."} 0
coredns_cache_entries{server="X",type="denial",view="tcp",zones="."} 1
coredns_cache_entries{server="X",type="success",view="",zones="."} 2
coredns_cache_entries{server="X",type="success",view="tcp",zones="."} 2
coredns_cache_requests_total{server="X",view="",zones="."} 2
coredns_cache_requests_total{server="X",view="tcp",zones="."} 4
coredns_dns_responses_total{plugin="cache",rcode="NOERROR",server="X",view="",zone="."} 2
coredns_dns_responses_total{plugin="errors",rcode="NOERROR",server="X",view="tcp",zone="."} 3
coredns_dns_responses_total{plugin="",rcode="SERVFAIL",server="X",view="tcp",zone="."} 1
coredns_dns_responses_total{plugin="whoami",rcode="NOERROR",server="X",view="texts",zone="example.org."} 2
coredns_plugin_enabled{name="cache",server="X",view="",zone="."} 1
coredns_plugin_enabled{name="cache",server="X",view="tcp",zone="."} 1
coredns_plugin_enabled{name="errors",server="X",view="tcp",zone="."} 1
coredns_plugin_enabled{name="prometheus",server="X",view="",zone="."} 1
coredns_plugin_enabled{name="prometheus",server="X",view="tcp",zone="."} 1
coredns_plugin_enabled{name="prometheus",server="X",view="texts",zone="example.org."} 1
coredns_plugin_enabled{name="template",server="X",view="",zone="."} 1
coredns_plugin_enabled{name="template",server="X",view="tcp",zone="."} 1
coredns_plugin_enabled{name="view",server="X",view="tcp",zone="."} 1
coredns_plugin_enabled{name="view",server="X",view="texts",zone="example.org."} 1
coredns_plugin_enabled{name="whoami",server="X",view="texts",zone="example.org."} 1
coredns_template_matches_total{class="IN",server="X",type="A",view="",zone="."} 2
coredns_template_matches_total{class="IN",server="X",type="A",view="tcp",zone="."} 2
`
	got := counted.FindAllString(fetch(t, "http://"+metrics+"/metrics"), -1)
	for i, line := range got {
		got[i] = strings.Replace(line, setup.Listeners[0].Name, "X", 1)
	}
	slices.Sort(got)
	lines := strings.SplitAfter(strings.TrimSuffix(want, "\n"), "\n")
	lines[len(lines)-1] += "\n"
	slices.Sort(lines)
	if text, want := strings.Join(got, ""), strings.Join(lines, ""); text != want {
		t.Errorf("counted\n%swant\n%s", text, want)
	}
}

// TestViewsShare: blocks with a view may have the same zone at the same address, and one without may too.
func TestViewsShare(t *testing.T) {
	const block, viewed = ". {\nwhoami\n}\n", ". {\nview a {\nexpr do()\n}\nwhoami\n}\n"
	tests := []struct{ corefile, want string }{
		{viewed + viewed + block, ""},
		{block + viewed, ""},
		{viewed + block + block, "cannot serve dns://.:53 - it is already defined (Corefile:10, first in Corefile:7)"},
		{". {\nview a\nview b\n}\n", "plugin/view: Corefile:3 - Error during parsing: this plugin can only be used once per Server Block"},
		{". {\nview a {\nexpr nosuch\n}\n}\n", "plugin/view: Corefile:3 - Error during parsing: unknown name nosuch (1:1)\n | nosuch\n | ^"},
		{". {\nview a {\nexp do()\n}\n}\n", "plugin/view: Corefile:3 - Error during parsing: unknown property 'exp' (did you mean expr?)"},
	}
	for _, tt := range tests {
		got := ""
		if _, _, err := compile(t, tt.corefile); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%q:\ngot  %s\nwant %s", tt.corefile, got, tt.want)
		}
	}
}
