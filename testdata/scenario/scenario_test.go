package scenario

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
)

const sample = `What it is about.

-- Corefile --
cluster.local {
    kubernetes {
        CLUSTER
    }
}
-- objects --
{apiVersion: v1, kind: Namespace, metadata: {name: prod}}
-- questions --
# A comment.
$ dig +tcp +bufsize=512 +dnssec web.prod.svc.cluster.local A
;; status: NOERROR, flags: qr aa rd
; EDNS: version: 0, flags: do; udp: 1232
;; ANSWER SECTION:
web.prod.svc.cluster.local.	5	IN	A	10.96.1.1

$ dig svc.cluster.local TXT
CoreDNS:
;; status: NXDOMAIN, flags: qr aa rd
Waypost, departure 1:
;; status: NOERROR, flags: qr aa rd
`

func TestParse(t *testing.T) {
	s, err := Parse("sample", sample)
	if err != nil {
		t.Fatal(err)
	}
	if want := "cluster.local {\n    kubernetes {\n        manifests x\n    }\n}\n"; s.Corefile("manifests x") != want {
		t.Errorf("the Corefile is %q, want %q", s.Corefile("manifests x"), want)
	}
	if s.Text != "What it is about." || !strings.Contains(s.Objects, "kind: Namespace") || len(s.Questions) != 2 {
		t.Fatalf("read %+v", s)
	}
	first, second := s.Questions[0], s.Questions[1]
	opt := first.Message.IsEdns0()
	if !first.TCP || opt == nil || opt.UDPSize() != 512 || !opt.Do() || first.Line != 13 {
		t.Errorf("the first question is %+v", first)
	}
	if first.CoreDNS.String() != first.Waypost.String() || first.Departure != "" || len(first.Waypost.Sections[0]) != 1 {
		t.Errorf("the answers to the first question are %v and %v", first.CoreDNS, first.Waypost)
	}
	if second.CoreDNS.Status != "NXDOMAIN" || second.Waypost.Status != "NOERROR" || second.Departure != "1" {
		t.Errorf("the answers to the second question are %v and %v", second.CoreDNS, second.Waypost)
	}
}

func TestParseErrors(t *testing.T) {
	for _, test := range []struct{ old, new, want string }{
		{"-- objects --", "-- things --", "want the sections"},
		{"svc.cluster.local TXT", "svc.cluster.local TEXT", `line 19: there is no record type "TEXT"`},
		{"+tcp", "+tpc", "line 13: unknown option +tpc"},
		{"+bufsize=512", "+bufsize=many", "line 13: option +bufsize=many"},
		{"Waypost, departure 1:", "", "no answer of both servers"},
		{"10.96.1.1", "10.96.1", "line 17: want a record in a section"},
		{"status: NXDOMAIN", "status: SORRY", "line 21: want"},
	} {
		_, err := Parse("sample", strings.Replace(sample, test.old, test.new, 1))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("with %q: error %v, want %q", test.new, err, test.want)
		}
	}
}

func TestDiff(t *testing.T) {
	s, err := Parse("sample", `
-- Corefile --
-- objects --
-- questions --
$ dig a.example A
;; status: NOERROR, flags: qr aa rd
;; ANSWER SECTION:
a.example. 5 IN CNAME b.example.
b.example. 5 IN A 10.0.0.1
b.example. 5 IN A 10.0.0.2
;; AUTHORITY SECTION:
example. 5 IN SOA ns.example. mail.example. 1 7200 1800 86400 5
`)
	if err != nil {
		t.Fatal(err)
	}
	q := s.Questions[0]
	reply := func(records ...string) *dns.Msg {
		m := new(dns.Msg).SetReply(q.Message)
		m.Authoritative = true
		for _, text := range records {
			rr, err := dns.NewRR(text)
			if err != nil {
				t.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		m.Ns, m.Answer = m.Answer[len(m.Answer)-1:], m.Answer[:len(m.Answer)-1]
		return m
	}
	const alias, one, two = "a.example. 5 CNAME b.example.", "b.example. 5 A 10.0.0.1", "b.example. 5 A 10.0.0.2"
	const soa = "example. 5 SOA ns.example. mail.example. %s 7200 1800 86400 5"
	serial := func(n string) string { return strings.Replace(soa, "%s", n, 1) }
	for _, test := range []struct {
		name  string
		reply *dns.Msg
		equal bool
	}{
		{"as it stands", reply(alias, one, two, serial("1")), true},
		{"another order, another serial", reply(alias, two, one, serial("1763709600")), true},
		{"the alias behind its target", reply(one, alias, two, serial("1")), false},
		{"serial 0", reply(alias, one, two, serial("0")), false},
		{"a record less", reply(alias, one, serial("1")), false},
		{"another TTL", reply(alias, one, "b.example. 6 A 10.0.0.2", serial("1")), false},
		{"another letter case", reply(alias, one, "B.example. 5 A 10.0.0.2", serial("1")), false},
	} {
		if diff := q.Waypost.Diff(test.reply); (diff == "") != test.equal {
			t.Errorf("%s: the difference is %q", test.name, diff)
		}
	}
}

// TestFiles reads every scenario there is.
func TestFiles(t *testing.T) {
	scenarios, err := ReadDir("../scenarios")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scenarios {
		if s.Text == "" || len(s.Questions) == 0 || s.Corefile("") == "" {
			t.Errorf("%s lacks an introduction, a Corefile or questions", s.Name)
		}
	}
}

// FuzzParse looks for text that makes Parse fail other than by an error, and for questions that it read but cannot be asked.
func FuzzParse(f *testing.F) {
	f.Add(sample)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse("fuzz", text)
		if err != nil {
			return
		}
		for _, q := range s.Questions {
			if _, err := q.Message.Pack(); err != nil {
				t.Errorf("%q: %v", q.Command, err)
			}
		}
	})
}
