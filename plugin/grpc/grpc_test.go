package grpc

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/env"
	"github.com/waypost/waypost/plugin/plugintest"
	"github.com/waypost/waypost/upstream/upstreamtest"
)

// origin is a gRPC server on the loopback.
type origin struct {
	addr  string
	asked atomic.Int32
	came  chan *dns.Msg // the questions, as far as there is room
}

// respond is what an origin makes of a question.
type respond func(ctx context.Context, q *dns.Msg) ([]byte, error)

// serve starts an origin; options are for TLS.
func serve(t testing.TB, answer respond, options ...grpc.ServerOption) *origin {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveAt(t, listener, answer, options...)
}

func serveAt(t testing.TB, listener net.Listener, answer respond, options ...grpc.ServerOption) *origin {
	t.Helper()
	o := &origin{addr: listener.Addr().String(), came: make(chan *dns.Msg, 100)}
	handle := func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var packet []byte
		if err := decode(&packet); err != nil {
			return nil, err
		}
		q := new(dns.Msg)
		if err := q.Unpack(packet); err != nil {
			return nil, err
		}
		o.asked.Add(1)
		select {
		case o.came <- q:
		default:
		}
		return answer(ctx, q)
	}
	s := grpc.NewServer(append(options, grpc.ForceServerCodecV2(packets{}))...)
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "coredns.dns.DnsService", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{MethodName: "Query", Handler: handle}},
	}, o)
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return o
}

// address answers every question with one address.
func address(addr string) respond {
	return func(_ context.Context, q *dns.Msg) ([]byte, error) {
		m := new(dns.Msg).SetReply(q)
		rr, err := dns.NewRR(q.Question[0].Name + " 30 IN A " + addr)
		if err != nil {
			return nil, err
		}
		m.Answer = []dns.RR{rr}
		return m.Pack()
	}
}

// altered answers with a message that has been changed.
func altered(change func(m *dns.Msg)) respond {
	return func(_ context.Context, q *dns.Msg) ([]byte, error) {
		m := new(dns.Msg).SetReply(q)
		change(m)
		return m.Pack()
	}
}

func rcode(code int) respond { return altered(func(m *dns.Msg) { m.Rcode = code }) }

// raw answers with bytes.
func raw(text string) respond {
	return func(context.Context, *dns.Msg) ([]byte, error) { return []byte(text), nil }
}

// cut answers with a message whose end is missing.
func cut(ctx context.Context, q *dns.Msg) ([]byte, error) {
	packet, err := address("192.0.2.1")(ctx, q)
	return packet[:len(packet)-1], err
}

// failing answers with a gRPC status.
func failing(code codes.Code) respond {
	return func(context.Context, *dns.Msg) ([]byte, error) { return nil, status.Error(code, "because") }
}

// silent never answers.
func silent(ctx context.Context, _ *dns.Msg) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// dead is an address where nobody listens.
func dead(t testing.TB) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// bench is a grpc directive at work.
type bench struct {
	*GRPC
	env env.Env
}

func start(t testing.TB, lines string, followed bool) *bench {
	t.Helper()
	o, err := Parse(plugintest.Directive(t, lines))
	if err != nil {
		t.Fatal(err)
	}
	e, _ := plugintest.Env(t, "grpc", journal.Text)
	g, err := New(o, followed, e)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Stop)
	return &bench{g, e}
}

// send gives a query to the step, as the server does.
func (b *bench) send(t testing.TB, q *message.Query) chan string {
	t.Helper()
	r, done := plugintest.Begin(q), make(chan string, 1)
	told := func(v message.Verdict) { done <- describe(t, v, r) }
	if v := b.Serve(q, r); v != message.Park {
		told(v)
	} else {
		b.Wait(q, r, told)
	}
	return done
}

// ask asks for type A of a name, with EDNS.
func (b *bench) ask(t testing.TB, name string) string {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, dns.TypeA).SetEdns0(1232, false)
	m.Id = 17085
	return <-b.send(t, plugintest.Query(t, m))
}

// describe is the response code, who answered, the answers' data, options, and what went wrong.
func describe(t testing.TB, v message.Verdict, r *message.Reply) string {
	if v == message.Next {
		return "passed on"
	}
	by, err := r.By, r.Err
	m := plugintest.Message(t, r)
	text := dns.RcodeToString[m.Rcode]
	if by != "" {
		text += " by " + by
	}
	if m.Id != 17085 || !m.Response || len(m.Question) != 1 {
		text += " to another query"
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

const (
	failed      = "SERVFAIL 23 (Network Error): (): "
	unreachable = failed + `rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial tcp `
)

func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer respond
		want   string
	}{
		{"an address", address("192.0.2.1"), "NOERROR by grpc 192.0.2.1"},
		{"a denial", rcode(dns.RcodeNameError), "NXDOMAIN by grpc"},
		{"a refusal", rcode(dns.RcodeRefused), "REFUSED by grpc"},
		{"another ID", altered(func(m *dns.Msg) { m.Id++ }), "NOERROR by grpc"},
		{"another name", altered(func(m *dns.Msg) { m.Question[0].Name = "other.example." }), "FORMERR by grpc"},
		{"another type", altered(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeTXT }), "FORMERR by grpc"},
		{"another class", altered(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), "FORMERR by grpc"},
		{"no question", altered(func(m *dns.Msg) { m.Question = nil }), "FORMERR by grpc"},
		{"a question", altered(func(m *dns.Msg) { m.Response = false }), "FORMERR by grpc"},
		{"garbage", raw(strings.Repeat("\xa5", 40)), failed + "reply of grpc://SERVER: bad question name: dns: bad rdata"},
		{"nothing", raw(""), failed + "reply of grpc://SERVER: bad header id: dns: overflow unpacking uint16"},
		{"a record that ends early", cut, failed + "reply of grpc://SERVER: reply of 55 bytes: it ends early"},
		{"too much", raw(strings.Repeat("x", message.MaxLen+1)), failed + "rpc error: code = ResourceExhausted desc = grpc: received message larger than max (65540 vs. 65539)"},
		{"a status", failing(codes.Internal), failed + "rpc error: code = Internal desc = because"},
		{"not found", failing(codes.NotFound), "NXDOMAIN by grpc"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := serve(t, tt.answer)
			want := strings.ReplaceAll(tt.want, "SERVER", o.addr)
			if got := start(t, "grpc . "+o.addr, false).ask(t, "www.example."); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// TestQuestion: what a server is asked is the client's question, with ID 0 and without what is for Waypost alone.
func TestQuestion(t *testing.T) {
	o := serve(t, address("192.0.2.1"))
	b := start(t, "grpc . "+o.addr, false)
	m := new(dns.Msg).SetQuestion("WWW.Example.", dns.TypeA).SetEdns0(4096, true)
	m.Id = 17085
	m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"}}
	if got := <-b.send(t, plugintest.Query(t, m)); got != "NOERROR by grpc 192.0.2.1" {
		t.Error(got)
	}
	q := <-o.came
	got := fmt.Sprintf("%d %s rd=%t do=%t options=%d", q.Id, q.Question[0].String(), q.RecursionDesired, q.IsEdns0().Do(), len(q.IsEdns0().Option))
	if want := "0 ;www.example.\tIN\t A rd=true do=true options=0"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestNames(t *testing.T) {
	o := serve(t, address("192.0.2.1"))
	lines := "grpc example " + o.addr + " {\nexcept a.example\nexcept b.c.example example\n}"
	const answered = "NOERROR by grpc 192.0.2.1"
	for _, tt := range []struct {
		name      string
		want      string
		wantAlone string // where nothing is behind
	}{
		{"example.", answered, answered},
		{"www.example.", "passed on", "SERVFAIL"}, // below an exception, which spares only FROM itself
		{"a.example.", "passed on", "SERVFAIL"},
		{"other.", "passed on", "SERVFAIL"},
	} {
		for followed, want := range map[bool]string{true: tt.want, false: tt.wantAlone} {
			if got := start(t, lines, followed).ask(t, tt.name); got != want {
				t.Errorf("%s, followed %t: got %s, want %s", tt.name, followed, got, want)
			}
		}
	}
}

func TestFallthrough(t *testing.T) {
	nx, good := serve(t, rcode(dns.RcodeNameError)).addr, serve(t, address("192.0.2.1")).addr
	missing, wrong := serve(t, failing(codes.NotFound)).addr, serve(t, failing(codes.Internal)).addr
	refusing := serve(t, rcode(dns.RcodeRefused)).addr
	const broken = failed + "rpc error: code = Internal desc = because"
	for _, tt := range []struct {
		name, server, option string
		followed             bool
		want                 string
	}{
		{"a denial", nx, "fallthrough", true, "passed on"},
		{"a denial, with nothing behind", nx, "fallthrough", false, "NXDOMAIN by grpc"},
		{"a denial in a zone", nx, "fallthrough other example", true, "passed on"},
		{"a denial outside", nx, "fallthrough other", true, "NXDOMAIN by grpc"},
		{"a denial, without the option", nx, "", true, "NXDOMAIN by grpc"},
		{"not found", missing, "fallthrough", true, "passed on"},
		{"a failure", wrong, "fallthrough", true, "passed on"},
		{"a failure, with nothing behind", wrong, "fallthrough", false, broken},
		{"a failure outside", wrong, "fallthrough other", true, broken},
		{"an answer", good, "fallthrough", true, "NOERROR by grpc 192.0.2.1"},
		{"a refusal", refusing, "fallthrough", true, "REFUSED by grpc"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := start(t, "grpc . "+tt.server+" {\n"+tt.option+"\n}", tt.followed).ask(t, "www.example."); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestNextServer: a server that fails, or says nothing that can be understood, is followed by the next one, each once.
func TestNextServer(t *testing.T) {
	good := serve(t, address("192.0.2.1"))
	wrong, garbage, mute, gone := serve(t, failing(codes.Unimplemented)), serve(t, raw("x")), serve(t, silent), dead(t)
	for _, tt := range []struct{ name, servers, want string }{
		{"dead", gone + " " + good.addr, "NOERROR by grpc 192.0.2.1"},
		{"dead, with none behind", gone, unreachable + gone + `: connect: connection refused"`},
		{"status", wrong.addr + " " + good.addr, "NOERROR by grpc 192.0.2.1"},
		{"garbage", garbage.addr + " " + good.addr, "NOERROR by grpc 192.0.2.1"},
		{"silent", mute.addr + " " + good.addr, "NOERROR by grpc 192.0.2.1"},
		{"three", gone + " " + wrong.addr + " " + garbage.addr + " " + good.addr, "NOERROR by grpc 192.0.2.1"},
		{"none is good", gone + " " + wrong.addr, failed + "rpc error: code = Unimplemented desc = because"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := start(t, "grpc . "+tt.servers+" {\npolicy sequential\n}", false).ask(t, "www.example."); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestSilence: a query does not wait for servers that are silent any longer than 5 seconds, and leaves nothing behind.
func TestSilence(t *testing.T) {
	t.Parallel()
	o := serve(t, silent)
	b := start(t, "grpc . "+o.addr, false)
	began := time.Now()
	// What is said beside depends on who ends first, the server or the client.
	if got, want := b.ask(t, "www.example."), failed+"rpc error: code = DeadlineExceeded desc = "; !strings.HasPrefix(got, want) {
		t.Errorf("got  %s\nwant %s...", got, want)
	}
	if took := time.Since(began); took < patience || took > 2*patience {
		t.Errorf("it took %s", took)
	}
	if n := b.flights.Len(); n != 0 {
		t.Errorf("%d flights are left", n)
	}
}

// TestMerge: one question for all who ask the same at the same time, another one for each that differs.
func TestMerge(t *testing.T) {
	release := make(chan bool)
	o := serve(t, func(ctx context.Context, q *dns.Msg) ([]byte, error) {
		<-release
		return address("192.0.2.1")(ctx, q)
	})
	b := start(t, "grpc . "+o.addr, false)
	var all []chan string
	for range 20 {
		all = append(all, b.send(t, plugintest.Ask(t, "WWW.example.", dns.TypeA)), b.send(t, plugintest.Ask(t, "www.Example.", dns.TypeAAAA)))
	}
	for range 2 {
		<-o.came
	}
	close(release)
	for _, done := range all {
		if got := <-done; got != "NOERROR by grpc 192.0.2.1" {
			t.Error(got)
		}
	}
	if n := o.asked.Load(); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

func TestPolicies(t *testing.T) {
	var servers []string
	for i := range 4 {
		servers = append(servers, serve(t, address(fmt.Sprintf("192.0.2.%d", i))).addr)
	}
	const rounds = 200
	for _, tt := range []struct {
		policy      string
		all         int // of the servers that are asked
		least, most int // times
	}{{"random", 4, 20, 90}, {"round_robin", 4, 50, 50}, {"sequential", 1, 200, 200}} {
		b, counts := start(t, "grpc . "+strings.Join(servers, " ")+" {\npolicy "+tt.policy+"\n}", false), map[string]int{}
		for range rounds {
			counts[b.ask(t, "www.example.")]++
		}
		for answer, n := range counts {
			if n < tt.least || n > tt.most {
				t.Errorf("%s: %d times %s", tt.policy, n, answer)
			}
		}
		if len(counts) != tt.all {
			t.Errorf("%s: %v", tt.policy, counts)
		}
	}
}

// TestSuspects: by chance, a server that has failed is asked only where the others fail too.
func TestSuspects(t *testing.T) {
	bad, good := serve(t, failing(codes.Internal)), serve(t, address("192.0.2.1"))
	b := start(t, "grpc . "+bad.addr+" "+good.addr+" {\npolicy round_robin\n}", false)
	for range 20 {
		if got := b.ask(t, "www.example."); got != "NOERROR by grpc 192.0.2.1" {
			t.Error(got)
		}
	}
	if n := bad.asked.Load(); n != 1 {
		t.Errorf("the bad one was asked %d times", n)
	}
}

func TestTLS(t *testing.T) {
	server, client, stranger := upstreamtest.NewIdentity(t, "dns.example"), upstreamtest.NewIdentity(t), upstreamtest.NewIdentity(t)
	secure := func(c *tls.Config) string {
		c.Certificates = []tls.Certificate{server.Certificate}
		return serve(t, address("192.0.2.1"), grpc.Creds(credentials.NewTLS(c))).addr
	}
	open := secure(&tls.Config{})
	closed := secure(&tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: client.Roots})
	plain := serve(t, address("192.0.2.1")).addr
	_, _, ca := server.Files(t)
	cert, key, _ := client.Files(t)
	_, _, other := stranger.Files(t)
	const good = "NOERROR by grpc 192.0.2.1"
	for _, tt := range []struct{ name, server, options, want string }{
		{"CA", open, "tls " + ca, good},
		{"a name", open, "tls " + ca + "\ntls_servername dns.example", good},
		{"a name before tls", open, "tls_servername dns.example\ntls " + ca, good},
		{"another name", open, "tls " + ca + "\ntls_servername other.example", "certificate is valid for dns.example, not other.example"},
		{"another authority", open, "tls " + other, "certificate signed by unknown authority"},
		{"the system's authorities", open, "tls", "certificate signed by unknown authority"},
		{"a name alone", open, "tls_servername dns.example", "certificate signed by unknown authority"},
		{"a client's certificate", closed, "tls " + cert + " " + key + " " + ca, good},
		{"none", closed, "tls " + ca, "Unavailable"},
		{"TLS to a plain server", plain, "tls " + ca, "Unavailable"},
		{"no TLS", open, "", "Unavailable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := start(t, "grpc . "+tt.server+" {\n"+tt.options+"\n}", false).ask(t, "www.example.")
			if tt.want == good && got != good || tt.want != good && (!strings.HasPrefix(got, failed) || !strings.Contains(got, tt.want)) {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestSocket: a server may be at a socket of this host.
func TestSocket(t *testing.T) {
	path := t.TempDir() + "/a%b.sock"
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	serveAt(t, listener, address("192.0.2.1"))
	if got := start(t, "grpc . unix://"+path, false).ask(t, "www.example."); got != "NOERROR by grpc 192.0.2.1" {
		t.Error(got)
	}
}

// TestReturn: a server that was not there is asked again.
func TestReturn(t *testing.T) {
	t.Parallel()
	addr := dead(t)
	b := start(t, "grpc . "+addr, false)
	if got := b.ask(t, "www.example."); !strings.HasPrefix(got, unreachable) {
		t.Error(got)
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	serveAt(t, listener, address("192.0.2.1"))
	ctx, cancel := context.WithTimeout(t.Context(), 2*maxPause)
	defer cancel()
	conn := b.servers[0].conn
	for conn.GetState() == connectivity.TransientFailure && conn.WaitForStateChange(ctx, connectivity.TransientFailure) {
	}
	if got := b.ask(t, "www.example."); got != "NOERROR by grpc 192.0.2.1" {
		t.Error(got)
	}
}

func TestMetrics(t *testing.T) {
	good, nx, odd := serve(t, address("192.0.2.1")), serve(t, rcode(dns.RcodeNameError)), serve(t, altered(func(m *dns.Msg) { m.Response = false }))
	wrong := serve(t, failing(codes.Internal))
	b := start(t, "grpc . "+strings.Join([]string{wrong.addr, good.addr}, " ")+" {\npolicy sequential\n}", false)
	for _, name := range []string{"a.example.", "b.example."} {
		b.ask(t, name)
	}
	for _, addr := range []string{nx.addr, odd.addr} {
		s, err := newServer(addr, nil, b.metrics)
		if err != nil {
			t.Fatal(err)
		}
		b.servers = []*server{s}
		t.Cleanup(s.close)
		b.ask(t, "www.example.")
	}
	want := fmt.Sprintf(`# HELP coredns_grpc_requests_total Questions that an upstream server has replied to.
# TYPE coredns_grpc_requests_total counter
coredns_grpc_requests_total{to=%[1]q} 2
coredns_grpc_requests_total{to=%[2]q} 1
coredns_grpc_requests_total{to=%[3]q} 1
# HELP coredns_grpc_responses_total Replies of upstream servers by response code.
# TYPE coredns_grpc_responses_total counter
coredns_grpc_responses_total{rcode="NOERROR",to=%[1]q} 2
coredns_grpc_responses_total{rcode="NXDOMAIN",to=%[2]q} 1
coredns_grpc_responses_total{rcode="NOERROR",to=%[3]q} 1
`, good.addr, nx.addr, odd.addr)
	registry := b.env.Metrics.(*prometheus.Registry)
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "coredns_grpc_requests_total", "coredns_grpc_responses_total"); err != nil {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(registry, "coredns_grpc_request_duration_seconds"); n != 3 || err != nil {
		t.Errorf("%d durations, %v", n, err)
	}
}
