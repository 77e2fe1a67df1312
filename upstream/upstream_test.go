package upstream_test

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/plugintest"
	"github.com/waypost/waypost/upstream"
	"github.com/waypost/waypost/upstream/upstreamtest"
)

// asker hands over how a question has ended.
type asker chan string

func newAsker() asker { return make(asker, 10) }

func (a asker) Answered(reply *message.Packed, err error) {
	if err != nil {
		a <- err.Error()
		return
	}
	a <- fmt.Sprintf("%d, %d bytes", reply.Rcode, reply.Size())
}

// reader hands over replies as a client without EDNS would see them.
type reader struct {
	t    testing.TB
	q    *message.Query
	done chan string
}

func (a *reader) Answered(reply *message.Packed, err error) {
	if err != nil {
		a.done <- err.Error()
		return
	}
	r := plugintest.Begin(a.q)
	if !r.Take(reply) {
		a.done <- "not taken"
		return
	}
	m := new(dns.Msg)
	if err := m.Unpack(r.Finish()); err != nil {
		a.done <- err.Error()
		return
	}
	text := dns.RcodeToString[m.Rcode]
	for _, rr := range m.Answer {
		text += " " + strings.ReplaceAll(rr.String(), "\t", " ")
	}
	a.done <- text
}

// ask asks a server for a name and returns how that ended.
func ask(t testing.TB, s *upstream.Server, name string, over message.Transport) string {
	t.Helper()
	q := plugintest.Ask(t, name, dns.TypeA)
	a := &reader{t: t, q: q, done: make(chan string, 2)}
	if err := s.Ask(upstream.NewQuestion(q, false), over, a); err != nil {
		return err.Error()
	}
	return wait(t, a.done)
}

func wait(t testing.TB, done chan string) string {
	t.Helper()
	select {
	case text := <-done:
		return text
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was told")
		return ""
	}
}

// newServer makes a server that waits for longer than a slow machine takes, but where the test says how long.
func newServer(t testing.TB, c upstream.Config) *upstream.Server {
	t.Helper()
	c.Read, c.Dial = cmp.Or(c.Read, 20*time.Second), cmp.Or(c.Dial, 20*time.Second)
	s := upstream.New(c)
	t.Cleanup(s.Close)
	return s
}

const answer = "NOERROR wWw.example. 30 IN A 192.0.2.1"

func TestAsk(t *testing.T) {
	identity := upstreamtest.NewIdentity(t, "dns.example")
	handler := upstreamtest.Answer(t, "www.example. 30 IN A 192.0.2.1")
	plain, secure := upstreamtest.Start(t, handler), upstreamtest.StartTLS(t, identity, handler)
	trusting := &tls.Config{RootCAs: identity.Roots}
	for _, tt := range []struct {
		name   string
		config upstream.Config
		over   message.Transport
		want   string
	}{
		{"UDP", upstream.Config{Addr: plain.Addr}, message.UDP, answer},
		{"TCP", upstream.Config{Addr: plain.Addr}, message.TCP, answer},
		{"UDP from an address", upstream.Config{Addr: plain.Addr, Source: netip.MustParseAddr("127.0.0.9")}, message.UDP, answer},
		{"TCP from an address", upstream.Config{Addr: plain.Addr, Source: netip.MustParseAddr("127.0.0.9")}, message.TCP, answer},
		{"TLS", upstream.Config{Addr: secure.Addr, Protocol: upstream.TLS, TLS: trusting}, message.UDP, answer},
		{"TLS, by name", upstream.Config{Addr: secure.Addr, Protocol: upstream.TLS, TLS: trusting, ServerName: "dns.example"}, message.TCP, answer},
		{"TLS, by another name", upstream.Config{Addr: secure.Addr, Protocol: upstream.TLS, TLS: trusting, ServerName: "other.example"}, message.TCP,
			"dial tcp-tls " + secure.Addr.String() + ": tls: failed to verify certificate: x509: certificate is valid for dns.example, not other.example"},
		{"TLS, of nobody that is trusted", upstream.Config{Addr: secure.Addr, Protocol: upstream.TLS}, message.TCP,
			"dial tcp-tls " + secure.Addr.String() + ": tls: failed to verify certificate: x509: certificate signed by unknown authority"},
		{"TLS, where there is none", upstream.Config{Addr: plain.Addr, Protocol: upstream.TLS, TLS: trusting, Dial: 100 * time.Millisecond}, message.TCP,
			"dial tcp-tls " + plain.Addr.String() + ": context deadline exceeded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.config.Expire = time.Minute
			s := newServer(t, tt.config)
			for range 3 {
				if got := ask(t, s, "wWw.example.", tt.over); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
			}
		})
	}
}

// TestQuestion: what a server is asked.
func TestQuestion(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*dns.Msg)
		want string
	}{
		{"plain", func(*dns.Msg) {}, "rd true cd false ad true www.example. A, no OPT"},
		{"without recursion", func(m *dns.Msg) { m.RecursionDesired = false }, "rd false cd false ad true www.example. A, no OPT"},
		{"checking disabled", func(m *dns.Msg) { m.CheckingDisabled = true }, "rd true cd true ad true www.example. A, no OPT"},
		{"EDNS", func(m *dns.Msg) { m.SetEdns0(4096, false) }, "rd true cd false ad true www.example. A, OPT 1232 do false []"},
		{"DO", func(m *dns.Msg) { m.SetEdns0(512, true) }, "rd true cd false ad true www.example. A, OPT 1232 do true []"},
		{"options", func(m *dns.Msg) {
			m.SetEdns0(512, false)
			o := m.IsEdns0()
			o.Option = append(o.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"},
				&dns.EDNS0_LOCAL{Code: 65001, Data: []byte{7}}, &dns.EDNS0_NSID{Code: dns.EDNS0NSID})
		}, "rd true cd false ad true www.example. A, OPT 1232 do false [65001:0x07]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := make(chan string, 3) // as often as it may be sent
			server := upstreamtest.Start(t, func(w dns.ResponseWriter, m *dns.Msg) {
				opt := "no OPT"
				if o := m.IsEdns0(); o != nil {
					opt = fmt.Sprintf("OPT %d do %v %v", o.UDPSize(), o.Do(), o.Option)
				}
				asked <- fmt.Sprintf("rd %v cd %v ad %v %s %s, %s", m.RecursionDesired, m.CheckingDisabled, m.AuthenticatedData,
					strings.ToLower(m.Question[0].Name), dns.TypeToString[m.Question[0].Qtype], opt)
				upstreamtest.Rcode(dns.RcodeSuccess)(w, m)
			})
			request := new(dns.Msg).SetQuestion("wwW.example.", dns.TypeA)
			tt.edit(request)
			a := newAsker()
			s := newServer(t, upstream.Config{Addr: server.Addr})
			if err := s.Ask(upstream.NewQuestion(plugintest.Query(t, request), false), message.UDP, a); err != nil {
				t.Fatal(err)
			}
			wait(t, a)
			if got := <-asked; got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestMetrics: CoreDNS's names and labels.
func TestMetrics(t *testing.T) {
	server := upstreamtest.Start(t, upstreamtest.Rcode(dns.RcodeNameError))
	metrics := upstream.NewMetrics("forward")
	once := newServer(t, upstream.Config{Addr: server.Addr, Metrics: metrics})
	kept := newServer(t, upstream.Config{Addr: server.Addr, Metrics: metrics, Expire: time.Minute})
	for range 3 {
		ask(t, once, "www.example.", message.UDP)
		ask(t, kept, "www.example.", message.TCP)
	}
	to := fmt.Sprintf(`proxy_name="forward",to="%s"`, server.Addr)
	for _, tt := range []struct {
		metric prometheus.Collector
		want   string
	}{
		{metrics.Duration, `coredns_proxy_request_duration_seconds_count{proxy_name="forward",rcode="NXDOMAIN",to="` + server.Addr.String() + `"} 6`},
		{metrics.Misses, `coredns_proxy_conn_cache_misses_total{proto="udp",` + to + `} 3`},
		{metrics.Misses, `coredns_proxy_conn_cache_misses_total{proto="tcp",` + to + `} 1`},
		{metrics.Hits, `coredns_proxy_conn_cache_hits_total{proto="udp",` + to + `} 0`},
		{metrics.Hits, `coredns_proxy_conn_cache_hits_total{proto="tcp",` + to + `} 2`},
		{metrics.Failures, `coredns_proxy_healthcheck_failures_total{` + to + `} 0`},
		{metrics.Wrong, `coredns_proxy_wrong_replies_total{` + to + `} 0`},
	} {
		name, _, _ := strings.Cut(strings.TrimSuffix(strings.Replace(tt.want, "_count{", "{", 1), " "), "{")
		text, err := testutil.CollectAndFormat(tt.metric, expfmt.TypeTextPlain, name)
		if err != nil || !strings.Contains(string(text), tt.want+"\n") {
			t.Errorf("no %s in\n%s%v", tt.want, text, err)
		}
	}
}

// startHTTPS runs an HTTPS server until the test ends.
func startHTTPS(t *testing.T, identity *upstreamtest.Identity, handler http.HandlerFunc) netip.AddrPort {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{identity.Certificate}}
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	return netip.MustParseAddrPort(server.Listener.Addr().String())
}

func TestHTTPS(t *testing.T) {
	identity := upstreamtest.NewIdentity(t, "dns.example")
	reply := func(w http.ResponseWriter, request []byte) {
		m := new(dns.Msg)
		if err := m.Unpack(request); err != nil || m.Id != 0 {
			t.Errorf("asked %v, %v", m, err)
		}
		rr, _ := dns.NewRR("www.example. 30 IN A 192.0.2.1")
		m.Response, m.Answer = true, []dns.RR{rr}
		packet, _ := m.Pack()
		w.Header().Set("Content-Type", "application/dns-message")
		w.Write(packet)
	}
	for _, tt := range []struct {
		name   string
		method string
		handle func(http.ResponseWriter, *http.Request)
		want   string
	}{
		{"POST", "", func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if r.Method != http.MethodPost || r.Proto != "HTTP/2.0" || r.URL.Path != "/dns-query" || r.Host != "dns.example" || r.Header.Get("Content-Type") != "application/dns-message" {
				t.Errorf("asked by %v", r)
			}
			reply(w, body)
		}, answer},
		{"GET", http.MethodGet, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || strings.ContainsAny(r.URL.RawQuery, "+/") {
				t.Errorf("asked by %v", r)
			}
			request := plugintest.Ask(t, "www.example.", dns.TypeA)
			wire := append([]byte{0, 0, 1, 0x20, 0, 1, 0, 0, 0, 0, 0, 0}, request.Lower()...)
			reply(w, append(wire, 0, 1, 0, 1))
		}, answer},
		{"an error", "", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusBadGateway) }, "POST of https://ADDR: 502 Bad Gateway"},
		{"a redirect", "", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) }, "POST of https://ADDR: 302 Found"},
		{"text", "", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "no") }, `POST of https://ADDR: content type "text/plain; charset=utf-8", not application/dns-message`},
		{"too much", "", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/dns-message")
			w.Write(make([]byte, 65536))
		}, "POST of https://ADDR: a reply of more than 65535 bytes"},
		{"nonsense", "", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/dns-message")
			w.Write(make([]byte, 100))
		}, "reply of https://ADDR: it does not reply to the question"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr := startHTTPS(t, identity, tt.handle)
			s := newServer(t, upstream.Config{
				Addr: addr, Protocol: upstream.HTTPS, ServerName: "dns.example", Method: tt.method, Expire: time.Minute,
				TLS: &tls.Config{RootCAs: identity.Roots},
			})
			for range 2 {
				if got, want := ask(t, s, "wWw.example.", message.UDP), strings.ReplaceAll(tt.want, "ADDR", addr.String()); got != want {
					t.Errorf("got  %s\nwant %s", got, want)
				}
			}
		})
	}
}
