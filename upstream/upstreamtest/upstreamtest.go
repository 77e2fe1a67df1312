// Package upstreamtest has DNS servers for tests: honest ones of miekg/dns over UDP, TCP and TLS, and ones that send
// whatever the test says.
package upstreamtest

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Server is a server of miekg/dns on 127.0.0.1, over UDP and TCP at the same port.
type Server struct {
	Addr     netip.AddrPort
	Asked    atomic.Int64 // how often, so far
	Requests Requests
	handler  dns.HandlerFunc
}

// Requests are those that a server has read, by what was sent and from where. One that has had no reply for a while is sent again
// as it was, which a slow machine may cause, and still is one.
type Requests struct{ read sync.Map }

// First takes account of a request, and reports whether it is read for the first time.
func (r *Requests) First(w dns.ResponseWriter, m *dns.Msg) bool {
	_, again := r.read.LoadOrStore(w.RemoteAddr().String()+m.String(), true)
	return !again
}

// Count is how many there have been.
func (r *Requests) Count() (n int) {
	for range r.read.Range {
		n++
	}
	return n
}

// Start runs a server until the test ends.
func Start(t testing.TB, handler dns.HandlerFunc) *Server {
	t.Helper()
	packets, listener := listen(t)
	s := &Server{Addr: packets.LocalAddr().(*net.UDPAddr).AddrPort(), handler: handler}
	s.run(t, &dns.Server{PacketConn: packets})
	s.run(t, &dns.Server{Listener: listener})
	return s
}

// StartTLS runs a server over TLS until the test ends.
func StartTLS(t testing.TB, identity *Identity, handler dns.HandlerFunc) *Server {
	t.Helper()
	listener := identity.Listen(t)
	s := &Server{Addr: listener.Addr().(*net.TCPAddr).AddrPort(), handler: handler}
	s.run(t, &dns.Server{Listener: listener})
	return s
}

func (s *Server) run(t testing.TB, server *dns.Server) {
	t.Helper()
	server.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		s.Asked.Add(1)
		s.Requests.First(w, r)
		s.handler(w, r)
	})
	started := make(chan struct{})
	server.NotifyStartedFunc = func() { close(started) }
	var failed error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		failed = server.ActivateAndServe()
	}()
	select {
	case <-started:
	case <-ended:
		t.Fatal(failed)
	}
	t.Cleanup(func() {
		_ = server.Shutdown()
		<-ended
	})
}

// listen opens UDP and TCP at one port of 127.0.0.1.
func listen(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 20 {
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listener, err := net.Listen("tcp", packets.LocalAddr().String())
		if err == nil {
			return packets, listener
		}
		packets.Close()
	}
	t.Fatal("no port is free for both UDP and TCP")
	return nil, nil
}

// Answer is a handler that answers with the records, in presentation format.
func Answer(t testing.TB, records ...string) dns.HandlerFunc {
	var answer []dns.RR
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		answer = append(answer, rr)
	}
	return func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg).SetReply(r)
		m.RecursionAvailable = true
		m.Answer = answer
		_ = w.WriteMsg(m) // who asked will notice
	}
}

// Silent is a handler that answers nothing.
func Silent(dns.ResponseWriter, *dns.Msg) {}

// Rcode is a handler that answers with a response code alone.
func Rcode(rcode int) dns.HandlerFunc {
	return func(w dns.ResponseWriter, r *dns.Msg) {
		_ = w.WriteMsg(new(dns.Msg).SetRcode(r, rcode)) // who asked will notice
	}
}

// Liar is a UDP socket on 127.0.0.1.
type Liar struct {
	Addr netip.AddrPort
	conn *net.UDPConn
}

// StartLiar gives each datagram that comes, and who sent it, to a function, until the test ends.
func StartLiar(t testing.TB, handle func(l *Liar, packet []byte, from netip.AddrPort)) *Liar {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	l := &Liar{Addr: conn.LocalAddr().(*net.UDPAddr).AddrPort(), conn: conn}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buffer := make([]byte, 65535)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buffer)
			if err != nil {
				return
			}
			handle(l, append([]byte(nil), buffer[:n]...), from)
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-ended
	})
	return l
}

// Send sends a datagram.
func (l *Liar) Send(packet []byte, to netip.AddrPort) {
	_, _ = l.conn.WriteToUDPAddrPort(packet, to) // who waits for it will notice
}

// Close closes the socket before the test ends.
func (l *Liar) Close() { l.conn.Close() }

// Eventually waits until a condition holds.
func Eventually(t testing.TB, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("it does not come to that")
		}
	}
}
