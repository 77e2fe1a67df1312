package forward

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/plugintest"
	"github.com/waypost/waypost/upstream/upstreamtest"
)

// bench is a forward directive at work.
type bench struct {
	steps []*Forward
	out   *plugintest.Output
}

func start(t testing.TB, lines string) *bench {
	t.Helper()
	all, err := Parse(plugintest.Directive(t, lines))
	if err != nil {
		t.Fatal(err)
	}
	e, out := plugintest.Env(t, "forward", journal.Text)
	b := &bench{out: out}
	for i, o := range all {
		f, err := New(o, i+1 < len(all), e)
		if err != nil {
			t.Fatal(err)
		}
		b.steps = append(b.steps, f)
		if err := f.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(f.Stop)
	}
	return b
}

// pending is a query on its way through the steps.
type pending struct {
	t    testing.TB
	r    *message.Reply
	done chan string
}

// send gives a query to the steps, as the server does.
func (b *bench) send(t testing.TB, q *message.Query) *pending {
	t.Helper()
	p := &pending{t: t, r: plugintest.Begin(q), done: make(chan string, 1)}
	b.walk(0, q, p)
	return p
}

func (b *bench) walk(i int, q *message.Query, p *pending) {
	for ; i < len(b.steps); i++ {
		if b.steps[i].Serve(q, p.r) == message.Next {
			continue
		}
		b.steps[i].Wait(q, p.r, func(v message.Verdict) {
			if v == message.Next {
				b.walk(i+1, q, p)
				return
			}
			p.done <- describeReply(p.t, p.r)
		})
		return
	}
	p.done <- "passed on"
}

func (p *pending) wait() string {
	p.t.Helper()
	select {
	case text := <-p.done:
		return text
	case <-time.After(20 * time.Second):
		p.t.Fatal("no answer")
		return ""
	}
}

// describeReply is the response code, "tc", the answers' data, and what went wrong.
func describeReply(t testing.TB, r *message.Reply) string {
	err := r.Err
	m := plugintest.Message(t, r)
	text := dns.RcodeToString[m.Rcode]
	if m.Truncated {
		text += " tc"
	}
	for _, rr := range m.Answer {
		fields := strings.Fields(rr.String())
		text += " " + fields[len(fields)-1]
	}
	if o := m.IsEdns0(); o != nil {
		for _, option := range o.Option {
			text += " " + option.String()
		}
	}
	if err != nil {
		text += ": " + err.Error()
	}
	return text
}

// ask asks for type A of a name over UDP, without EDNS.
func (b *bench) ask(t testing.TB, name string) string {
	t.Helper()
	return b.send(t, plugintest.Ask(t, name, dns.TypeA)).wait()
}

// server answers every question with one address.
func server(t testing.TB, address string) *upstreamtest.Server {
	return upstreamtest.Start(t, upstreamtest.Answer(t, "www.example. 30 IN A "+address))
}

func rcode(t testing.TB, code int) *upstreamtest.Server {
	return upstreamtest.Start(t, upstreamtest.Rcode(code))
}

// lines is a forward directive: FROM, servers, options. It waits for replies for longer than a slow machine takes.
func lines(from string, servers []*upstreamtest.Server, options ...string) string {
	text := "forward " + from
	for _, s := range servers {
		text += " " + s.Addr.String()
	}
	return text + " {\n" + strings.Join(append(options, "health_check 10s", "read_timeout 30s"), "\n") + "\n}"
}

type upstreams = []*upstreamtest.Server

func TestForwards(t *testing.T) {
	one := server(t, "192.0.2.1")
	cookie := upstreamtest.Start(t, func(w dns.ResponseWriter, m *dns.Msg) {
		_ = w.WriteMsg(new(dns.Msg).SetRcode(m, dns.RcodeBadCookie).SetEdns0(1232, false)) // who asked will notice
	})
	for _, tt := range []struct{ name, lines, asked, want string }{
		{"the root", lines(".", upstreams{one}), "www.example.", "NOERROR 192.0.2.1"},
		{"a zone", lines("example", upstreams{one}), "www.EXAMPLE.", "NOERROR 192.0.2.1"},
		{"another zone", lines("example.org", upstreams{one}), "www.example.", "passed on"},
		{"except", lines(".", upstreams{one}, "except b.example example"), "www.example.", "passed on"},
		{"not except", lines(".", upstreams{one}, "except b.example"), "www.example.", "NOERROR 192.0.2.1"},
		{"the zone itself, excepted", lines("www.example", upstreams{one}, "except ."), "www.example.", "NOERROR 192.0.2.1"},
		{"the second line", lines("other", upstreams{rcode(t, dns.RcodeRefused)}) + "\n" + lines("example", upstreams{one}), "www.example.", "NOERROR 192.0.2.1"},
		{"the first line that fits", lines(".", upstreams{one}) + "\n" + lines("example", upstreams{rcode(t, dns.RcodeRefused)}), "www.example.", "NOERROR 192.0.2.1"},
		{"a response code that only OPT can tell, which the client did not send", lines(".", upstreams{cookie}), "www.example.", "SERVFAIL"},
		{"a response code", lines(".", upstreams{rcode(t, dns.RcodeNotImplemented)}), "www.example.", "NOTIMP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := start(t, tt.lines).ask(t, tt.asked); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// over is a server that says over what it was asked: 192.0.2.17 is UDP, 192.0.2.6 TCP. Over UDP it is truncated.
func over(t testing.TB, truncated bool) *upstreamtest.Server {
	return upstreamtest.Start(t, func(w dns.ResponseWriter, m *dns.Msg) {
		if w.RemoteAddr().Network() == "tcp" {
			upstreamtest.Answer(t, "www.example. 30 IN A 192.0.2.6")(w, m)
			return
		}
		reply := new(dns.Msg).SetReply(m)
		rr, _ := dns.NewRR("www.example. 30 IN A 192.0.2.17")
		reply.Answer, reply.Truncated = []dns.RR{rr}, truncated
		w.WriteMsg(reply)
	})
}

func TestTransports(t *testing.T) {
	edns := func(size uint16) func(*dns.Msg) { return func(m *dns.Msg) { m.SetEdns0(size, false) } }
	for _, tt := range []struct {
		name      string
		truncated bool
		option    string
		transport message.Transport
		edit      func(*dns.Msg)
		want      string
	}{
		{"UDP", false, "", message.UDP, nil, "NOERROR 192.0.2.17"},
		{"TCP", false, "", message.TCP, nil, "NOERROR 192.0.2.6"},
		{"UDP, force_tcp", false, "force_tcp", message.UDP, nil, "NOERROR 192.0.2.6"},
		{"TCP, prefer_udp", false, "prefer_udp", message.TCP, nil, "NOERROR 192.0.2.17"},
		{"both", false, "prefer_udp\nforce_tcp", message.UDP, nil, "NOERROR 192.0.2.6"},
		{"truncated, a client that takes no more", true, "", message.UDP, nil, "NOERROR tc 192.0.2.17"},
		{"truncated, a client that takes no more than we ask for", true, "", message.UDP, edns(1232), "NOERROR tc 192.0.2.17"},
		{"truncated, a client that takes more", true, "", message.UDP, edns(4096), "NOERROR 192.0.2.6"},
		{"truncated, prefer_udp", true, "prefer_udp", message.TCP, nil, "NOERROR 192.0.2.6"},
		{"truncated, prefer_udp and UDP", true, "prefer_udp", message.UDP, nil, "NOERROR 192.0.2.6"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := start(t, lines(".", upstreams{over(t, tt.truncated)}, tt.option))
			request := new(dns.Msg).SetQuestion("www.example.", dns.TypeA)
			if tt.edit != nil {
				tt.edit(request)
			}
			q := plugintest.Query(t, request)
			q.Transport = tt.transport
			if got := b.send(t, q).wait(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestTruncatedForKeeping: who asks to keep the answer gets the whole of it.
func TestTruncatedForKeeping(t *testing.T) {
	b := start(t, lines(".", upstreams{over(t, true)}))
	q := plugintest.Ask(t, "www.example.", dns.TypeA)
	q.Refresh = true
	if got := b.send(t, q).wait(); got != "NOERROR 192.0.2.6" {
		t.Errorf("got %s", got)
	}
}

// TestTruncatedAndNoTCP: a server that cuts its replies short and speaks no TCP still gives the client that it was cut.
func TestTruncatedAndNoTCP(t *testing.T) {
	liar := upstreamtest.StartLiar(t, func(l *upstreamtest.Liar, packet []byte, from netip.AddrPort) {
		packet[2] |= 0x82 // QR, TC
		l.Send(packet, from)
	})
	b := start(t, "forward . "+liar.Addr.String()+" {\nmax_fails 0\n}")
	request := new(dns.Msg).SetQuestion("www.example.", dns.TypeA).SetEdns0(4096, false)
	if got := b.send(t, plugintest.Query(t, request)).wait(); got != "NOERROR tc" {
		t.Errorf("got %s", got)
	}
}

// TestTLSOptions: certificates, names and the authority of the Corefile are those of the connection.
func TestTLSOptions(t *testing.T) {
	identity := upstreamtest.NewIdentity(t, "dns.example")
	cert, key, ca := identity.Files(t)
	secure := upstreamtest.StartTLS(t, identity, upstreamtest.Answer(t, "www.example. 30 IN A 192.0.2.1"))
	addr := "tls://" + secure.Addr.String()
	named := fmt.Sprintf("tls://%s%%dns.example:%d", secure.Addr.Addr(), secure.Addr.Port())
	misnamed := strings.Replace(named, "dns.example", "other.example", 1)
	for _, tt := range []struct{ lines, want string }{
		{"forward . " + addr + " {\ntls " + ca + "\n}", "NOERROR 192.0.2.1"},
		{"forward . " + addr + " {\ntls " + cert + " " + key + " " + ca + "\n}", "NOERROR 192.0.2.1"},
		{"forward . " + addr + " {\ntls " + ca + "\ntls_servername dns.example\n}", "NOERROR 192.0.2.1"},
		{"forward . " + addr + " {\ntls " + ca + "\ntls_servername other.example\n}", "SERVFAIL"},
		{"forward . " + named + " {\ntls " + ca + "\n}", "NOERROR 192.0.2.1"},
		{"forward . " + misnamed + " {\ntls " + ca + "\n}", "SERVFAIL"},
		{"forward . " + addr + " {\ntls " + cert + " " + key + "\n}", "SERVFAIL"},
		{"forward . " + addr, "SERVFAIL"},
	} {
		if got := start(t, tt.lines).ask(t, "www.example."); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: got %s, want %s", tt.lines, got, tt.want)
		}
	}
}

// TestSourceAddress: the server sees the address that the Corefile names.
func TestSourceAddress(t *testing.T) {
	seen := make(chan string, 2)
	s := upstreamtest.Start(t, func(w dns.ResponseWriter, m *dns.Msg) {
		seen <- netip.MustParseAddrPort(w.RemoteAddr().String()).Addr().String()
		upstreamtest.Rcode(dns.RcodeSuccess)(w, m)
	})
	for _, option := range []string{"", "force_tcp"} {
		start(t, lines(".", upstreams{s}, "source_address 127.0.0.9", option)).ask(t, "www.example.")
		if got := <-seen; got != "127.0.0.9" {
			t.Errorf("%s: asked from %s", option, got)
		}
	}
}

// TestShuffled: the addresses of a reply come in random order where the block says so.
func TestShuffled(t *testing.T) {
	s := upstreamtest.Start(t, upstreamtest.Answer(t, "www.example. 30 IN A 192.0.2.1", "www.example. 30 IN A 192.0.2.2"))
	b := start(t, lines(".", upstreams{s}))
	seen := map[string]bool{}
	for range 100 {
		q := plugintest.Ask(t, "www.example.", dns.TypeA)
		p := &pending{t: t, r: plugintest.Begin(q), done: make(chan string, 1)}
		p.r.Shuffle = true
		b.walk(0, q, p)
		seen[p.wait()] = true
	}
	if len(seen) != 2 {
		t.Errorf("orders %v", seen)
	}
}

// TestStop: a question that waits has its answer after the end.
func TestStop(t *testing.T) {
	release := make(chan struct{})
	slow := upstreamtest.Start(t, func(w dns.ResponseWriter, m *dns.Msg) {
		<-release
		upstreamtest.Answer(t, "www.example. 30 IN A 192.0.2.1")(w, m)
	})
	b := start(t, lines(".", upstreams{slow}))
	p := b.send(t, plugintest.Ask(t, "www.example.", dns.TypeA))
	b.steps[0].Stop()
	close(release)
	if got := p.wait(); got != "NOERROR 192.0.2.1" {
		t.Errorf("got %s", got)
	}
}
