package plugin

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// order is that of CoreDNS 1.15.0, core/dnsserver/zdirectives.go.
const order = `root metadata geoip cancel proxyproto quic grpc_server https https3 timeouts multisocket reload nsid bufsize
bind debug trace ready health pprof shed prometheus errors log dnstap local dns64 siit any chaos loadbalance tsig rewrite
autopath acl cache header dnssec tls minimal template transfer dynupdate hosts route53 azure clouddns k8s_external
kubernetes file auto secondary etcd loop forward grpc erratic whoami on sign view nomad`

func TestOrder(t *testing.T) {
	var names []string
	for _, d := range table {
		names = append(names, d.name)
	}
	if want := strings.Fields(order); !slices.Equal(names, want) {
		t.Errorf("got  %v\nwant %v", names, want)
	}
}

func TestRows(t *testing.T) {
	for _, d := range table {
		if (d.build == nil) == (d.instead == "") {
			t.Errorf("%s: either it is there, or the table says what to write instead", d.name)
		}
		if _, ok := foreign[d.name]; ok {
			t.Errorf("%s is CoreDNS's own and listed as foreign", d.name)
		}
	}
}

// TestDocumented: the page about the Corefile has a row for each directive, in this order and with these words.
func TestDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/corefile.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (.*) \\| (yes|not yet) \\| (.*?) ?\\|$").FindAllStringSubmatch(string(page), len(table))
	if len(rows) != len(table) {
		t.Fatalf("%d rows", len(rows))
	}
	for i, d := range table {
		state := "yes"
		if d.build == nil {
			state = "not yet"
		}
		if row := rows[i]; row[1] != d.name || row[3] != state || row[4] != d.instead {
			t.Errorf("row %q, want %s, %s, %q", row[0], d.name, state, d.instead)
		}
		if d.build != nil && !strings.Contains(string(page), "\n### "+d.name+"\n") {
			t.Errorf("no section about %s", d.name)
		}
	}
}
