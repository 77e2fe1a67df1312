package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/upstream/upstreamtest"
)

func TestBackoff(t *testing.T) {
	for _, tt := range []struct {
		interval time.Duration
		n        int
		chance   float64
		want     time.Duration
	}{
		{500 * time.Millisecond, 0, 0, 500 * time.Millisecond},
		{500 * time.Millisecond, 1, 0, time.Second},
		{500 * time.Millisecond, 5, 0, 16 * time.Second},
		{500 * time.Millisecond, 6, 0, 30 * time.Second},
		{500 * time.Millisecond, 1 << 40, 0, 30 * time.Second},
		{500 * time.Millisecond, 1, 1, 750 * time.Millisecond},
		{time.Minute, 0, 0, time.Minute},
		{time.Minute, 9, 0, time.Minute},
	} {
		if got := backoff(tt.interval, tt.n, tt.chance); got != tt.want {
			t.Errorf("backoff(%v, %d, %v) = %v, want %v", tt.interval, tt.n, tt.chance, got, tt.want)
		}
	}
}

// newHealth makes a server's health whose probes fail while down is set.
func newHealth(down *atomic.Bool, interval time.Duration) (*Server, *atomic.Int64) {
	s, probes := &Server{}, new(atomic.Int64)
	s.health.init(func(context.Context) error {
		probes.Add(1)
		if down.Load() {
			return errors.New("down")
		}
		return nil
	}, interval, func() {})
	return s, probes
}

func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		s, probes := newHealth(&down, 500*time.Millisecond)
		if s.Down(2) || s.Suspect() {
			t.Error("down without a reason")
		}
		// A probe that succeeds ends it.
		s.Check()
		synctest.Wait()
		if probes.Load() != 1 || s.Suspect() || s.Down(2) {
			t.Errorf("%d probes, suspect %v, down %v", probes.Load(), s.Suspect(), s.Down(2))
		}
		// Three that fail take the server out of use.
		down.Store(true)
		s.Check()
		s.Check()
		synctest.Wait()
		if probes.Load() != 2 || !s.Suspect() || s.Down(1) {
			t.Errorf("%d probes, suspect %v, down %v", probes.Load(), s.Suspect(), s.Down(2))
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !s.Down(2) || s.Down(0) {
			t.Errorf("%d probes, down %v, down without a limit %v", probes.Load(), s.Down(2), s.Down(0))
		}
		// They become seldom, but not while somebody wants the server.
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if probes.Load() > 35 {
			t.Errorf("%d probes in ten minutes", probes.Load())
		}
		before := probes.Load()
		for range 20 {
			s.Wanted()
			time.Sleep(500 * time.Millisecond)
		}
		synctest.Wait()
		if n := probes.Load() - before; n < 8 || n > 12 {
			t.Errorf("%d probes in ten seconds in which the server was wanted", n)
		}
		// A reply to anything else counts too.
		s.health.replied()
		synctest.Wait()
		if s.Suspect() || s.Down(2) {
			t.Error("still down after a reply")
		}
		s.Check()
		s.health.stop()
		synctest.Wait()
		before = probes.Load()
		s.Check()
		time.Sleep(time.Minute)
		synctest.Wait()
		if probes.Load() != before {
			t.Errorf("%d probes after the end", probes.Load()-before)
		}
	})
}

// TestLeastInterval: probes are never sent without a pause.
func TestLeastInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		s, probes := newHealth(&down, 0)
		s.Check()
		time.Sleep(time.Second)
		synctest.Wait()
		s.health.stop()
		if probes.Load() > 5 {
			t.Errorf("%d probes in a second", probes.Load())
		}
	})
}

func TestDisable(t *testing.T) {
	s := start(t, Config{Addr: netip.MustParseAddrPort("127.0.0.1:53")})
	s.Disable("it loops")
	if !s.Down(0) || !s.Down(2) || s.Disabled() != "it loops" {
		t.Errorf("down %v, %q", s.Down(0), s.Disabled())
	}
	s.Enable()
	if s.Down(0) || s.Down(2) || s.Disabled() != "" {
		t.Errorf("down %v, %q", s.Down(0), s.Disabled())
	}
}

// TestProbe: what is asked, over every transport; whatever replies is there.
func TestProbe(t *testing.T) {
	identity := upstreamtest.NewIdentity(t)
	asked := make(chan string, 1)
	handler := func(rcode int) dns.HandlerFunc {
		return func(w dns.ResponseWriter, m *dns.Msg) {
			over := w.LocalAddr().Network()
			if c, ok := w.(dns.ConnectionStater); ok && c.ConnectionState() != nil {
				over = "tls"
			}
			rd := "norec"
			if m.RecursionDesired {
				rd = "rd"
			}
			asked <- over + " " + m.Question[0].String()[1:] + " " + rd
			upstreamtest.Rcode(rcode)(w, m)
		}
	}
	domain, err := message.ParseName("example.org.")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		config Config
		want   string
	}{
		{"UDP", Config{}, "udp .\tIN\t NS rd"},
		{"TCP", Config{Probe: Probe{TCP: true}}, "tcp .\tIN\t NS rd"},
		{"TLS", Config{Protocol: TLS, TLS: &tls.Config{RootCAs: identity.Roots}}, "tls .\tIN\t NS rd"},
		{"a domain", Config{Probe: Probe{Domain: domain}}, "udp example.org.\tIN\t NS rd"},
		{"without recursion", Config{Probe: Probe{NoRecurse: true}}, "udp .\tIN\t NS norec"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.config.Addr = upstreamtest.Start(t, handler(dns.RcodeRefused)).Addr
			if tt.config.Protocol == TLS {
				tt.config.Addr = upstreamtest.StartTLS(t, identity, handler(dns.RcodeServerFailure)).Addr
			}
			if err := start(t, tt.config).probe(context.Background()); err != nil {
				t.Fatal(err)
			}
			if got := <-asked; got != tt.want {
				t.Errorf("asked %q, want %q", got, tt.want)
			}
		})
	}
}

func TestProbeHTTPS(t *testing.T) {
	identity := upstreamtest.NewIdentity(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", httpsType)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{identity.Certificate}}
	server.StartTLS()
	t.Cleanup(server.Close)
	s := start(t, Config{
		Addr: netip.MustParseAddrPort(server.Listener.Addr().String()), Protocol: HTTPS, TLS: &tls.Config{RootCAs: identity.Roots},
	})
	if err := s.probe(context.Background()); err != nil {
		t.Error(err)
	}
}

// TestProbeFails where nobody is, or somebody who only repeats what he hears.
func TestProbeFails(t *testing.T) {
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if start(t, Config{Addr: closed.LocalAddr().(*net.UDPAddr).AddrPort()}).probe(context.Background()) == nil {
		t.Error("a probe of a port where nobody listens succeeds")
	}
	heard := make(chan struct{})
	echo := upstreamtest.StartLiar(t, func(l *upstreamtest.Liar, request []byte, from netip.AddrPort) {
		l.Send(request, from)
		l.Send(nil, from)
		close(heard)
	})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-heard
		cancel()
	}()
	if start(t, Config{Addr: echo.Addr}).probe(ctx) == nil {
		t.Error("an echo is a reply")
	}
}
