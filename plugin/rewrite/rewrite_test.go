package rewrite_test

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/plugintest"
	"github.com/waypost/waypost/plugin/rewrite"
)

// What becomes of names, types, TTLs and response codes stands in testdata/scenarios/rewrite-*.txt.

// start makes the step of the lines.
func start(t testing.TB, lines string) (*rewrite.Rewrite, *plugintest.Output) {
	t.Helper()
	o, err := rewrite.Parse(plugintest.Directive(t, lines))
	if err != nil {
		t.Fatal(err)
	}
	e, out := plugintest.Env(t, "rewrite", journal.Text)
	return rewrite.New(o, e), out
}

// serve gives a query to the step, then to answer, which stands for the steps behind, and then the reply back. It reports
// whether the query has to wait.
func serve(t testing.TB, w *rewrite.Rewrite, q *message.Query, answer func(*message.Query, *message.Reply)) (r *message.Reply, waits bool) {
	t.Helper()
	r = plugintest.Begin(q)
	if w.Serve(q, r) == message.Next {
		answer(q, r)
	}
	for _, v := range slices.Backward(r.Revisions) {
		if v.Revise(q, r) == message.Park {
			return r, true
		}
	}
	return r, false
}

// options are EDNS options as text.
func options(opt *dns.OPT) string {
	if opt == nil {
		return "no OPT"
	}
	words := []string{}
	for _, o := range opt.Option {
		switch o := o.(type) {
		case *dns.EDNS0_LOCAL:
			words = append(words, fmt.Sprintf("%d=%x", o.Code, o.Data))
		case *dns.EDNS0_NSID:
			words = append(words, "nsid="+o.Nsid)
		case *dns.EDNS0_SUBNET:
			words = append(words, fmt.Sprintf("subnet=%d %s/%d", o.Family, o.Address, o.SourceNetmask))
		}
	}
	return strings.Join(words, " ")
}

// passedOn are the options that a forwarder would send.
func passedOn(t testing.TB, q *message.Query) string {
	t.Helper()
	if !q.EDNS.Present {
		return "no OPT"
	}
	wire := q.EDNS.EndToEnd(nil)
	opt := append([]byte{0, 0, 41, 16, 0, 0, 0, 0, 0, byte(len(wire) >> 8), byte(len(wire))}, wire...)
	rr, _, err := dns.UnpackRR(opt, 0)
	if err != nil {
		t.Fatal(err)
	}
	return options(rr.(*dns.OPT))
}

func TestEDNS(t *testing.T) {
	local := &dns.EDNS0_LOCAL{Code: 65001, Data: []byte("old")}
	subnet := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 8, Address: []byte{10, 0, 0, 0}}
	client4, client6 := netip.MustParseAddrPort("192.0.2.7:40212"), netip.MustParseAddrPort("[2001:db8:1:2::7]:1234")
	tests := []struct {
		name    string
		lines   string
		from    netip.AddrPort
		request []dns.EDNS0 // nil sends no OPT
		passed  string      // the options that other servers get
		reply   []dns.EDNS0 // those that come back
		want    string      // those that the client gets
	}{
		{"set", "edns0 local set 0xffee abc", client4, []dns.EDNS0{local}, "65001=6f6c64 65518=616263", nil, ""},
		{"set what is there", "edns0 local set 65001 0x0102", client4, []dns.EDNS0{local}, "65001=0102", nil, ""},
		{"set without EDNS", "edns0 local set 0xffee abc", client4, nil, "65518=616263", []dns.EDNS0{local}, "no OPT"},
		{"append", "edns0 local append 65001 abc", client4, []dns.EDNS0{local}, "65001=6f6c64 65001=616263", nil, ""},
		{"replace", "edns0 local replace 65001 abc", client4, []dns.EDNS0{local}, "65001=616263", nil, ""},
		{"replace nothing", "edns0 local replace 65002 abc", client4, []dns.EDNS0{local}, "65001=6f6c64", nil, ""},
		{"replace nothing, without EDNS", "edns0 local replace 65002 abc", client4, nil, "no OPT", nil, "no OPT"},
		{"unset", "edns0 local unset 65001", client4, []dns.EDNS0{local, local}, "", nil, ""},
		{"unset nothing", "edns0 local unset 65002", client4, nil, "no OPT", nil, "no OPT"},
		{"one after the other", "continue edns0 local set 65002 a\nrewrite continue edns0 local set 65003 b\nrewrite edns0 local unset 65002", client4, []dns.EDNS0{local}, "65001=6f6c64 65003=62", nil, ""},

		{"qname", "edns0 local set 1234 {qname}", client4, nil, "1234=" + hex.EncodeToString([]byte("WWW.example.org.")), nil, "no OPT"},
		{"qtype", "edns0 local set 1234 {qtype}", client4, nil, "1234=001c", nil, "no OPT"},
		{"client_ip", "edns0 local set 1234 {client_ip}", client4, nil, "1234=c0000207", nil, "no OPT"},
		{"client_ip", "edns0 local set 1234 {client_ip}", client6, nil, "1234=20010db8000100020000000000000007", nil, "no OPT"},
		{"client_port", "edns0 local set 1234 {client_port}", client4, nil, "1234=9d14", nil, "no OPT"},
		{"protocol", "edns0 local set 1234 {protocol}", client4, nil, "1234=756470", nil, "no OPT"},
		{"server_ip", "edns0 local set 1234 {server_ip}", client4, nil, "1234=c0000235", nil, "no OPT"},
		{"server_port", "edns0 local set 1234 {server_port}", client4, nil, "1234=0035", nil, "no OPT"},
		{"append a variable to what is there", "edns0 local append 65001 {qtype}", client4, []dns.EDNS0{local}, "65001=6f6c64", nil, ""},

		{"nsid", "edns0 nsid set", client4, nil, "nsid=", nil, "no OPT"},
		{"nsid replace", "edns0 nsid replace", client4, []dns.EDNS0{&dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: "61"}}, "nsid=", nil, ""},
		{"nsid unset", "edns0 nsid unset", client4, []dns.EDNS0{&dns.EDNS0_NSID{Code: dns.EDNS0NSID}}, "", nil, ""},
		{"subnet", "edns0 subnet set 24 56", client4, nil, "subnet=1 192.0.2.0/24", nil, "no OPT"},
		{"subnet", "edns0 subnet set 24 56", client6, nil, "subnet=2 2001:db8:1::/56", nil, "no OPT"},
		{"subnet replace", "edns0 subnet replace 32 128", client4, []dns.EDNS0{subnet}, "subnet=1 192.0.2.7/32", nil, ""},
		{"subnet append", "edns0 subnet append 24 56", client4, []dns.EDNS0{subnet}, "subnet=1 10.0.0.0/8", nil, ""},
		{"subnet unset", "edns0 subnet unset", client4, []dns.EDNS0{subnet}, "", nil, ""},

		{"no revert", "edns0 local set 65002 abc", client4, []dns.EDNS0{local}, "65001=6f6c64 65002=616263", []dns.EDNS0{&dns.EDNS0_LOCAL{Code: 65002, Data: []byte("up")}}, "65002=7570"},
		{"revert", "edns0 local set 65002 abc revert", client4, []dns.EDNS0{local}, "65001=6f6c64 65002=616263", []dns.EDNS0{&dns.EDNS0_LOCAL{Code: 65002, Data: []byte("up")}, local}, "65001=6f6c64"},
		{"revert what was there", "edns0 local set 65001 abc revert", client4, []dns.EDNS0{local}, "65001=616263", []dns.EDNS0{&dns.EDNS0_LOCAL{Code: 65001, Data: []byte("up")}}, "65001=6f6c64"},
		{"revert what does not come back", "edns0 local set 65001 abc revert", client4, []dns.EDNS0{local}, "65001=616263", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			request := new(dns.Msg).SetQuestion("WWW.example.org.", dns.TypeAAAA)
			if tt.request != nil {
				request.SetEdns0(1232, false).IsEdns0().Option = tt.request
			}
			q := plugintest.Query(t, request)
			q.From = tt.from
			passed := ""
			w, _ := start(t, "rewrite "+tt.lines)
			r, _ := serve(t, w, q, func(q *message.Query, r *message.Reply) {
				passed = passedOn(t, q)
				for _, o := range tt.reply {
					r.Option(o.Option(), o.(*dns.EDNS0_LOCAL).Data)
				}
			})
			if passed != tt.passed {
				t.Errorf("passed on %q, want %q", passed, tt.passed)
			}
			if got := options(plugintest.Message(t, r).IsEdns0()); got != tt.want {
				t.Errorf("the client gets %q, want %q", got, tt.want)
			}
		})
	}
}

// TestSize checks the size that logs and metrics have of a query: that of what it was made.
func TestSize(t *testing.T) {
	w, _ := start(t, "rewrite continue name a. example.org.\nrewrite edns0 local set 65001 abc")
	q := plugintest.Ask(t, "a.", dns.TypeA)
	before := q.Size
	serve(t, w, q, func(*message.Query, *message.Reply) {})
	if got, want := q.Size, before+len("example.org.")-len("a.")+11+4+3; got != want {
		t.Errorf("got %d, want %d", got, want)
	}
}

// TestClass: class CH is let in to be changed, and for nothing else.
func TestClass(t *testing.T) {
	w, _ := start(t, "rewrite name stop.example. other.example.\nrewrite class ch in\nrewrite name never. never2.")
	if !w.Chaos() {
		t.Error("class CH is not let in")
	}
	for name, want := range map[string]string{"x.example.": "NOERROR class IN, question CH", "stop.example.": "REFUSED class CH, question CH"} {
		request := new(dns.Msg).SetQuestion(name, dns.TypeTXT)
		request.Question[0].Qclass = dns.ClassCHAOS
		q := plugintest.Query(t, request)
		r, _ := serve(t, w, q, func(*message.Query, *message.Reply) {})
		m := plugintest.Message(t, r)
		got := fmt.Sprintf("%s class %s, question %s", dns.RcodeToString[m.Rcode], dns.Class(q.Class), dns.Class(m.Question[0].Qclass))
		if got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	if w, _ := start(t, "rewrite class IN CH"); w.Chaos() {
		t.Error("class CH is let in")
	}
}

// TestWritten: an error code is the step's own reply if a rule has ended the list or wants something of the reply.
func TestWritten(t *testing.T) {
	for lines, want := range map[string]string{
		"rewrite name a. b.":                 "rewrite",
		"rewrite continue name a. b.":        "rewrite",
		"rewrite continue type A AAAA":       "",
		"rewrite continue ttl a. 5":          "rewrite",
		"rewrite type A AAAA":                "rewrite",
		"rewrite name b. c.":                 "",
		"rewrite continue name suffix a. b.": "",
		"rewrite continue rcode a. 2 3\nrewrite continue edns0 nsid set": "rewrite",
	} {
		w, _ := start(t, lines)
		r, _ := serve(t, w, plugintest.Ask(t, "a.", dns.TypeA), func(_ *message.Query, r *message.Reply) { r.Fail(message.ServFail) })
		if r.By != want {
			t.Errorf("%s: by %q, want %q", lines, r.By, want)
		}
	}
}

// TestAlias: a new target is looked up where that may take its time.
func TestAlias(t *testing.T) {
	w, out := start(t, "rewrite cname regex ^(.*)\\.old\\.$ {1}.new.")
	answer := func(q *message.Query, r *message.Reply) {
		r.Record(message.Answer, message.QuestionAt, message.TypeCNAME, 5)
		r.String("\x01x\x03old\x00")
		r.End()
	}
	q := plugintest.Ask(t, "a.", dns.TypeA)
	if _, waits := serve(t, w, q, answer); !waits {
		t.Error("it does not wait")
	}
	for reply, want := range map[string]string{
		"":      "[a.\t5\tIN\tCNAME\tx.new. x.new.\t7\tIN\tA\t192.0.2.1]",
		"short": "[a.\t5\tIN\tCNAME\tx.old.]",
	} {
		q := plugintest.Ask(t, "a.", dns.TypeA)
		q.MayBlock, q.Resolver = true, resolver(reply)
		r, waits := serve(t, w, q, answer)
		if got := fmt.Sprint(plugintest.Message(t, r).Answer); waits || got != want {
			t.Errorf("waits %t, got %s, want %s", waits, got, want)
		}
	}
	if got, want := out.Take(), "[ERROR] plugin/rewrite: upstream lookup failed: reading the reply for x.new.: bad header question count: dns: overflow unpacking uint16\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	if _, waits := serve(t, w, plugintest.Ask(t, "a.", dns.TypeA), func(*message.Query, *message.Reply) {}); waits {
		t.Error("a reply without aliases waits")
	}
}

// resolver replies with one address, or with these bytes.
type resolver string

func (v resolver) Resolve(from *message.Query, name message.Name, typ message.Type) ([]byte, bool) {
	if v != "" {
		return []byte(v), true
	}
	var q message.Query
	q.Ask(from, name, typ)
	var r message.Reply
	r.Begin(&q, nil)
	r.Addresses(message.Answer, message.QuestionAt, message.AppendAddress(nil, []byte{192, 0, 2, 1}, 7))
	return r.Finish(), true
}

func (resolver) Refresh(*message.Query) {}

// FuzzRewrite has names and patterns of any kind: no rule can make a reply that cannot be read, or to another question.
func FuzzRewrite(f *testing.F) {
	f.Add("a.b", `name regex ^(.*)[.]b[.]$ {1}.c answer auto`)
	f.Add("a.b", "continue name suffix .b c answer name (.*) {0}{1}")
	f.Add(`x\.y "`, "name substring y yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy")
	f.Add("a", "name prefix a. \x00 answer value . x")
	f.Add("a", "edns0 local set 1 {qname} revert")
	f.Add("a", "ttl prefix a. -7")
	f.Add("a", "rcode a NOERROR 23")
	f.Add("a", "class IN ANY")
	f.Add("a", "type A OPT")
	f.Fuzz(func(t *testing.T, name, rule string) {
		line := ""
		for _, word := range strings.Fields(rule) {
			if word == "{" || word == "}" || strings.Contains(word, "{$") || strings.Contains(word, "{%") || strings.ContainsAny(word, "\"\\") {
				return // the grammar's
			}
			line += ` "` + word + `"`
		}
		o, err := rewrite.Parse(plugintest.Directive(t, "rewrite"+line))
		if err != nil {
			return
		}
		wire, err := message.PackName(name)
		if err != nil {
			return
		}
		e, _ := plugintest.Env(t, "rewrite", journal.Text)
		packet := append([]byte{0, 17, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, wire...)
		var q message.Query
		q.Parse(append(packet, 0, 1, 0, 1))
		r, _ := serve(t, rewrite.New(o, e), &q, func(_ *message.Query, r *message.Reply) {
			r.Addresses(message.Answer, message.QuestionAt, message.AppendAddress(nil, []byte{192, 0, 2, 1}, 7))
			r.Record(message.Authority, message.QuestionAt, message.TypeNS, 7)
			r.Name(message.QuestionAt)
			r.End()
		})
		if got := r.Finish(); string(got[12:12+len(wire)+4]) != string(packet[12:])+"\x00\x01\x00\x01" {
			t.Errorf("the question is %q", got[12:])
		}
		var m dns.Msg
		if err := m.Unpack(r.Finish()); err != nil {
			t.Error(err)
		}
	})
}

// BenchmarkRewrite is a name that no rule fits, and one that is rewritten there and back.
func BenchmarkRewrite(b *testing.B) {
	w, _ := start(b, "rewrite name regex (.*)\\.gardener\\.cloud\\.svc\\.cluster\\.local {1}.gardener.cloud\nrewrite name suffix .remote. .cluster.local. answer auto")
	set := message.AppendAddress(nil, []byte{192, 0, 2, 1}, 7)
	for _, name := range []string{"web.prod.svc.cluster.local.", "web.prod.svc.remote."} {
		b.Run(name, func(b *testing.B) {
			asked, out := plugintest.Ask(b, name, dns.TypeA), make([]byte, 0, 512)
			var r message.Reply
			b.ReportAllocs()
			for b.Loop() {
				q := *asked
				r.Begin(&q, out)
				w.Serve(&q, &r)
				r.Addresses(message.Answer, message.QuestionAt, set)
				for _, v := range slices.Backward(r.Revisions) {
					v.Revise(&q, &r)
				}
				r.Finish()
			}
		})
	}
}
