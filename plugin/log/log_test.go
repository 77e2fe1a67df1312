package log_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/env"
	"github.com/waypost/waypost/plugin/log"
	"github.com/waypost/waypost/plugin/plugintest"
)

func TestParseErrors(t *testing.T) {
	tests := []struct{ lines, want string }{
		{"log {\nbla\n}", "Corefile:3 - Error during parsing: unknown property 'bla'"},
		{"log {\nclass foo\n}", "Corefile:3 - Error during parsing: invalid Class: foo"},
		{"log {\nclass\n}", "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after 'class'"},
		{"log a..b", "Corefile:2 - Error during parsing: name \"a..b\": empty label"},
	}
	for _, tt := range tests {
		_, err := log.Parse(plugintest.Directive(t, tt.lines))
		if fmt.Sprint(err) != tt.want {
			t.Errorf("%q:\ngot  %v\nwant %s", tt.lines, err, tt.want)
		}
	}
}

// A case is a question, a reply, and how the query arrived.
type question struct {
	name      string
	typ       uint16
	edns      uint16 // the UDP size, 0 for no OPT
	do        bool
	bits      uint16 // besides RD
	from      string
	transport message.Transport
}

func (c question) query(t testing.TB) *message.Query {
	request := new(dns.Msg).SetQuestion(c.name, c.typ)
	request.Id = 17085
	request.CheckingDisabled = c.bits&message.BitCD != 0
	if c.edns > 0 {
		request.SetEdns0(c.edns, c.do)
	}
	q := plugintest.Query(t, request)
	if c.from != "" {
		q.From = netip.MustParseAddrPort(c.from)
	}
	q.Transport = c.transport
	return q
}

// The replies of the tests.
func address(r *message.Reply) {
	r.Authoritative = true
	r.Addresses(message.Answer, message.QuestionAt, message.AppendAddress(nil, []byte{192, 0, 2, 1}, 5))
}

func nodata(r *message.Reply) { authority(r, message.TypeSOA) }

func delegation(r *message.Reply) { authority(r, message.TypeNS) }

func nxdomain(r *message.Reply) {
	r.Rcode = message.NXDomain
	authority(r, message.TypeSOA)
}

func servfail(r *message.Reply) { r.Fail(message.ServFail) }

func empty(*message.Reply) {}

func authority(r *message.Reply, typ message.Type) {
	r.Record(message.Authority, message.QuestionAt, message.TypeTXT, 0)
	r.Bytes([]byte{1, 'x'})
	r.End()
	r.RecordNamed(message.Authority, []byte("\x07example\x03org\x00"), typ, 5)
	r.Name(message.QuestionAt)
	r.End()
}

// run observes one query and returns what is printed, with the duration replaced by "D".
func run(t *testing.T, lines string, q *message.Query, reply func(*message.Reply)) string {
	t.Helper()
	o, err := log.Parse(plugintest.Directive(t, lines))
	if err != nil {
		t.Fatal(err)
	}
	environment, out := plugintest.Env(t, "log", journal.Text)
	q.Received = time.Now().Add(-678233 * time.Nanosecond)
	r := plugintest.Begin(q)
	reply(r)
	log.New(o, environment).Observe(q, r)
	return regexp.MustCompile(`\b[0-9]+\.[0-9]+s\b`).ReplaceAllString(out.Take(), "D")
}

func TestFormat(t *testing.T) {
	plain := question{name: "X.Example.org.", typ: dns.TypeA, edns: 1232}
	tests := []struct {
		name, lines string
		question    question
		reply       func(*message.Reply)
		want        string
	}{
		{"default", "log", plain, address,
			`192.0.2.7:40212 - 17085 "A IN x.example.org. udp 42 false 1232" NOERROR qr,aa,rd 60 D`},
		{"no EDNS, NXDOMAIN", "log", question{name: "example.org.", typ: dns.TypeHTTPS}, nxdomain,
			`192.0.2.7:40212 - 17085 "HTTPS IN example.org. udp 29 false 512" NXDOMAIN qr,rd 90 D`},
		{"IPv6, TCP, DO, CD", "log", question{name: ".", typ: dns.TypeNS, edns: 4096, do: true, bits: message.BitCD,
			from: "[2001:db8::7]:5353", transport: message.TCP}, servfail,
			`[2001:db8::7]:5353 - 17085 "NS IN . tcp 28 true 65535" SERVFAIL qr,rd,cd 17 D`},
		{"IPv4 at a socket of both families", "log . {remote}", question{name: ".", typ: dns.TypeA, from: "[::ffff:192.0.2.9]:1"}, empty, `192.0.2.9`},
		{"unknown type and escapes", "log . \"{type} {name}\"", question{name: `a\.b\007.`, typ: 65400}, empty, `TYPE65400 a\.b\007.`},
		{"a small buffer", "log . {>bufsize}", question{name: ".", typ: dns.TypeA, edns: 100}, empty, `512`},
		{"combined", "log . \"{combined} {local}\"", plain, address,
			`192.0.2.7:40212 - 17085 "A IN x.example.org. udp 42 false 1232" NOERROR qr,aa,rd 60 D "0" 192.0.2.53`},
		{"common among others", "log example.org \"<{common}>\"", plain, address,
			`<192.0.2.7:40212 - 17085 "A IN x.example.org. udp 42 false 1232" NOERROR qr,aa,rd 60 D>`},
		{"every placeholder", "log . {type},{class},{name},{proto},{size},{remote},{port},{local},{>id},{>opcode},{>do},{>bufsize},{rcode},{>rflags},{rsize},{duration}",
			plain, address, `A,IN,x.example.org.,udp,42,192.0.2.7,40212,192.0.2.53,17085,0,false,1232,NOERROR,qr,aa,rd,60,D`},
		{"unknown ones, metadata, braces", "log . \"a} { {rcode} } {} {nope} {/x/y} {type\"", plain, address, `a} { NOERROR } {} {nope} - {type`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := run(t, tt.lines, tt.question.query(t), tt.reply)
			if want := "[INFO] " + tt.want + "\n"; got != want {
				t.Errorf("\ngot  %swant %s", got, want)
			}
		})
	}
}

// TestWhich says which replies are printed: each line begins with what is said of a question and a reply.
func TestWhich(t *testing.T) {
	replies := map[string]func(*message.Reply){
		"answer": address, "nodata": nodata, "nxdomain": nxdomain, "servfail": servfail, "empty": empty, "delegation": delegation,
		"nxdomain with an answer": func(r *message.Reply) { address(r); r.Rcode = message.NXDomain },
	}
	tests := []struct {
		lines string
		want  string // the replies printed, sorted
	}{
		{"log", "answer delegation empty nodata nxdomain nxdomain with an answer servfail"},
		{"log {\nclass all denial\n}", "answer delegation empty nodata nxdomain nxdomain with an answer servfail"},
		{"log {\nclass success\n}", "answer delegation empty"},
		{"log {\nclass denial\n}", "nodata nxdomain"},
		{"log {\nclass error\n}", "nxdomain with an answer servfail"},
		{"log {\nclass denial error\n}", "nodata nxdomain nxdomain with an answer servfail"},
		{"log {\nclass denial\nclass success\n}", "answer delegation empty nodata nxdomain"},
		{"log stdout", ""},
		{"log example.net EXAMPLE.org", "answer delegation empty nodata nxdomain nxdomain with an answer servfail"},
		{"log www.example.org {\nclass error\n}\nlog example.org", "nxdomain with an answer servfail"},
		{"log example.org {\nclass error\n}\nlog www.example.org", "nxdomain with an answer servfail"},
	}
	names := []string{"answer", "delegation", "empty", "nodata", "nxdomain", "nxdomain with an answer", "servfail"}
	for _, tt := range tests {
		var got []string
		for _, name := range names {
			if run(t, tt.lines, plugintest.Ask(t, "www.example.org.", dns.TypeA), replies[name]) != "" {
				got = append(got, name)
			}
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%q:\ngot  %s\nwant %s", tt.lines, strings.Join(got, " "), tt.want)
		}
	}
	if run(t, "log {\nclass success denial\n}", plugintest.Ask(t, "example.org.", dns.TypeIXFR), address) != "" {
		t.Error("a zone transfer is neither a success nor a denial")
	}
}

func TestJSON(t *testing.T) {
	environment, out := plugintest.Env(t, "log", journal.JSON)
	o, err := log.Parse(plugintest.Directive(t, `log . "{name} {rcode}"`))
	if err != nil {
		t.Fatal(err)
	}
	q := question{name: "Example.org.", typ: dns.TypeA, edns: 1232, from: "[2001:db8::7]:40212"}.query(t)
	q.Received = time.Now().Add(-time.Millisecond)
	r := plugintest.Begin(q)
	address(r)
	log.New(o, environment).Observe(q, r)

	var got map[string]any
	if err := json.Unmarshal([]byte(out.Take()), &got); err != nil {
		t.Fatal(err)
	}
	if took := got["duration_seconds"].(float64); took < 0.001 || took > 60 {
		t.Errorf("duration_seconds is %v", took)
	}
	delete(got, "duration_seconds")
	delete(got, "time")
	want := map[string]any{
		"level": "INFO", "msg": "example.org. NOERROR", "plugin": "log", "client_ip": "2001:db8::7", "client_port": 40212.0,
		"qname": "example.org.", "qtype": "A", "qclass": "IN", "protocol": "udp", "id": 17085.0, "opcode": 0.0,
		"request_size": 40.0, "dnssec_ok": false, "bufsize": 1232.0, "rcode": "NOERROR", "response_size": 56.0,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("\ngot  %v\nwant %v", got, want)
	}
}

func TestObserveAllocatesNothing(t *testing.T) {
	environment, _ := plugintest.Env(t, "log", journal.Text)
	o, err := log.Parse(plugintest.Directive(t, "log {\nclass success\n}"))
	if err != nil {
		t.Fatal(err)
	}
	l := log.New(o, environment)
	q := plugintest.Ask(t, "www.example.org.", dns.TypeA)
	r := plugintest.Begin(q)
	address(r)
	if n := testing.AllocsPerRun(100, func() { l.Observe(q, r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	discard := journal.New(io.Discard, journal.Text)
	defer discard.Close()
	o, err := log.Parse(plugintest.Directive(b, "log"))
	if err != nil {
		b.Fatal(err)
	}
	l := log.New(o, env.Env{Journal: discard})
	q := plugintest.Ask(b, "www.example.org.", dns.TypeA)
	q.Received = time.Now()
	r := plugintest.Begin(q)
	address(r)
	b.ReportAllocs()
	for b.Loop() {
		l.Observe(q, r)
	}
}

func FuzzFormat(f *testing.F) {
	f.Add(`{remote}:{port} { {name} } {/a} {x} }{`)
	f.Fuzz(func(t *testing.T, format string) {
		environment, out := plugintest.Env(t, "log", journal.Text)
		q := plugintest.Ask(t, ".", dns.TypeA)
		l := log.New(log.Options{Rules: []log.Rule{{Zone: message.Root, Format: format, Classes: log.All}}}, environment)
		l.Observe(q, plugintest.Begin(q))
		got := out.Take()
		if !strings.Contains(format, "{") && got != "[INFO] "+format+"\n" {
			t.Errorf("format %q without a placeholder gives %q", format, got)
		}
	})
}
