// Package upstream exchanges questions for replies with other DNS servers, over UDP, TCP, TLS and HTTPS.
//
// Nobody waits in it: Ask sends a question and returns, and the reply is told to an Asker later, on the goroutine that
// received it. What a server sends is not believed: it counts only if it comes to the port and with the ID and question
// that were chosen at random for it, and if it is well-formed. Anything else is counted and ignored, and the right reply is
// waited for.
package upstream

import (
	"cmp"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/waypost/waypost/message"
)

// Protocol is how a server is spoken to.
type Protocol string

// The protocols, by the scheme that an address has in a Corefile.
const (
	Plain Protocol = "dns" // UDP or TCP, as each question wants it
	TLS   Protocol = "tls"
	HTTPS Protocol = "https"
)

// Config says where a server is and how to speak to it. A field that is zero has the default which its comment names.
type Config struct {
	Addr     netip.AddrPort
	Protocol Protocol    // Plain
	TLS      *tls.Config // for TLS and HTTPS: the system's authorities
	// ServerName is what the server's certificate has to be for, and the host of HTTPS requests: the address.
	ServerName string
	Method     string        // of HTTPS requests, http.MethodGet or http.MethodPost: POST
	Source     netip.Addr    // where to send from: as the kernel routes
	Read       time.Duration // how long to wait for a reply: 2 s
	Dial       time.Duration // how long to wait for a connection: 2.5 s
	Expire     time.Duration // how long to keep a connection that nobody uses, and a UDP port: not at all
	MaxAge     time.Duration // how long to keep a connection at all: without a limit
	MaxIdle    int           // how many connections to keep that nobody uses: without a limit
	Probe      Probe
	Metrics    *Metrics // NewMetrics("")
}

// Server is another DNS server.
type Server struct {
	config   Config
	name     string
	metrics  *serverMetrics
	udp      datagrams
	streams  streams
	client   *http.Client // for HTTPS
	health   health
	disabled atomic.Pointer[string]
}

// Asker is who asks a Server.
type Asker interface {
	// Answered is told, once, how an Ask of it has ended: with a reply, or with an error that says where it failed. It
	// must not wait for anything, others' replies are behind it.
	Answered(reply *message.Packed, err error)
}

// ErrClosed is the error of questions that Close cut off.
var ErrClosed = errors.New("upstream: closed")

// New makes a Server. Nothing is sent before it is asked.
func New(c Config) *Server {
	c.Protocol = cmp.Or(c.Protocol, Plain)
	c.Read = cmp.Or(c.Read, 2*time.Second)
	c.Dial = cmp.Or(c.Dial, 2500*time.Millisecond)
	c.Method = cmp.Or(c.Method, http.MethodPost)
	c.Probe = c.Probe.withDefaults()
	if c.Metrics == nil {
		c.Metrics = NewMetrics("")
	}
	s := &Server{config: c, name: c.Addr.String()}
	s.metrics = c.Metrics.of(s)
	if c.Protocol != Plain {
		s.config.TLS = s.tlsConfig()
	}
	if c.Protocol == HTTPS {
		s.client = s.httpClient()
	}
	s.udp.init(s)
	s.streams.server, s.streams.most = s, maxStreams
	s.health.init(s.probe, c.Probe.Interval, s.metrics.failures.Inc)
	return s
}

// String is the address, as metrics and messages have it: "10.0.0.1:53".
func (s *Server) String() string { return s.name }

// Addr is the server's address.
func (s *Server) Addr() netip.AddrPort { return s.config.Addr }

// Protocol is how the server is spoken to.
func (s *Server) Protocol() Protocol { return s.config.Protocol }

// ServerName is what the server's certificate has to be for, "" for its address.
func (s *Server) ServerName() string { return s.config.ServerName }

// Ask sends a question, over UDP or TCP where that can be chosen. If it returns an error, a is told nothing.
func (s *Server) Ask(q *Question, over message.Transport, a Asker) error {
	switch {
	case s.config.Protocol == HTTPS:
		go s.fetch(q, a)
		return nil
	case s.config.Protocol == TLS || over == message.TCP:
		return s.streams.ask(q, a)
	}
	return s.udp.ask(q, a)
}

// Close ends the probes and keeps no connection or port any longer than a question is waiting at it. Questions can still
// be asked.
func (s *Server) Close() {
	s.health.stop()
	s.udp.close()
	s.streams.close()
	if s.client != nil {
		s.client.CloseIdleConnections()
	}
}

// Disable takes the server out of use until Enable: Down is true from now on. why is for messages.
func (s *Server) Disable(why string) { s.disabled.Store(&why) }

// Enable undoes Disable.
func (s *Server) Enable() { s.disabled.Store(nil) }

// Disabled is what Disable was told, "" for a server that is in use.
func (s *Server) Disabled() string {
	if why := s.disabled.Load(); why != nil {
		return *why
	}
	return ""
}

// answered passes a reply on to who asked.
func (s *Server) answered(p *pending, reply *message.Packed, now time.Time) {
	s.metrics.replied(reply.Rcode, now.Sub(p.asked))
	s.health.replied()
	p.asker.Answered(reply, nil)
}

// dialer makes TCP connections.
func (s *Server) dialer() *net.Dialer {
	d := &net.Dialer{Timeout: s.config.Dial}
	if s.config.Source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.config.Source, 0))
	}
	return d
}

// tlsConfig is the configuration with the name that is to be verified.
func (s *Server) tlsConfig() *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.config.TLS != nil {
		c = s.config.TLS.Clone()
	}
	c.ServerName = cmp.Or(s.config.ServerName, c.ServerName, s.config.Addr.Addr().WithZone("").String())
	if c.ClientSessionCache == nil {
		c.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	return c
}
