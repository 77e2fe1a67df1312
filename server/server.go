// Package server is the rim of Waypost: UDP and TCP sockets, the choice of the server block for a query, the steps that
// answer it, and an end in which nothing is lost. It knows compiled blocks and no directive.
//
// life.go shows the whole life of a query.
package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/message"
)

// Shards is how many shards of counters an Observer keeps: Query.Shard is below it. Each UDP socket's loop counts in a
// shard of its own, as long as there are no more sockets than shards; TCP connections spread over all of them, so that
// counters are to be added to atomically.
const Shards = 32

// Config says where a Server listens and what it does with the queries that come.
type Config struct {
	// Addr is what to listen on, UDP and TCP: "127.0.0.1:53", "[::1]:53", or ":53" for every address of both families.
	// Port 0 takes one that is free for both.
	Addr string
	// Name is what the steps know the listener by (Query.Listener): "dns://:53".
	Name string
	// Blocks answer the queries; SetBlocks changes them later. Of several with a zone in common, the
	// first that takes a query has it.
	Blocks []*Block
	// Dropped, if not nil, sees each reply that no block had the last word on: no block covers the name, the block that
	// does has no chain, the class is not served, or a step panicked. CoreDNS counts these under the zone "dropped".
	Dropped Observer
	// Panic, if not nil, is told of each panic in a step or an observer, to count and log it. The query is answered
	// SERVFAIL and the server goes on.
	Panic func(value any, stack []byte)
	// Logf, if not nil, is told of what goes wrong at a socket, at most once a second for each cause.
	Logf func(format string, args ...any)
	// Limits bound what clients can make the server hold.
	Limits Limits
}

// Limits bound what clients can make a Server hold. A field that is zero has the default which its comment names.
type Limits struct {
	Sockets        int           // UDP sockets, each with a loop of its own: GOMAXPROCS
	ReceiveBuffer  int           // bytes that the kernel keeps for each of them (SO_RCVBUF): 8 MiB
	Connections    int           // open TCP connections: 4,096; beyond, the one that was silent longest gives way
	Parked         int           // queries that wait for something at one time: 4,096; beyond, SERVFAIL at once
	ParkedPerStep  int           // the same for one step of a block, so that one silent upstream leaves places to others: 3,072
	ParkedPerConn  int           // the same for one TCP connection: 128; beyond, no more is read from it
	InnerDepth     int           // how deep a question inside a question may be (message.Resolver): 10
	InnerQuestions int           // how many of them there may be for one query: 100; beyond either, they are SERVFAIL
	FirstMessage   time.Duration // how long a TCP connection may take to send its first query: 3 s
	Idle           time.Duration // how long until its next one, counted from the last answer: 10 s
	Write          time.Duration // how long it may take to accept an answer: 5 s
	Grace          time.Duration // how long Shutdown waits for answers to be sent: 5 s
}

// withDefaults fills in what is zero.
func (l Limits) withDefaults() Limits {
	return Limits{
		Sockets:        cmp.Or(l.Sockets, runtime.GOMAXPROCS(0)),
		ReceiveBuffer:  cmp.Or(l.ReceiveBuffer, 8<<20),
		Connections:    cmp.Or(l.Connections, 4096),
		Parked:         cmp.Or(l.Parked, 4096),
		ParkedPerStep:  cmp.Or(l.ParkedPerStep, 3072),
		ParkedPerConn:  cmp.Or(l.ParkedPerConn, 128),
		InnerDepth:     cmp.Or(l.InnerDepth, 10),
		InnerQuestions: cmp.Or(l.InnerQuestions, 100),
		FirstMessage:   cmp.Or(l.FirstMessage, 3*time.Second),
		Idle:           cmp.Or(l.Idle, 10*time.Second),
		Write:          cmp.Or(l.Write, 5*time.Second),
		Grace:          cmp.Or(l.Grace, 5*time.Second),
	}
}

// Server listens on one address, UDP and TCP, and answers from its blocks. Its sockets live longer than the blocks, which
// SetBlocks exchanges while queries are answered. It implements message.Resolver.
type Server struct {
	addr    netip.AddrPort
	config  Config
	limits  Limits
	chains  atomic.Pointer[chains]
	parking quota
	parks   sync.Pool // of *parked
	udp     []*udpLoop
	tcp     *tcpListener
	running sync.WaitGroup // the loops, and the TCP connections
	closing chan struct{}  // closed once every loop has been woken to end
	started atomic.Bool
	ended   atomic.Bool
}

// Listen opens the sockets, on which queries then wait for Start. They have SO_REUSEPORT, so that a second Server, in this
// process or in another one, can listen on the same address and take over. The error says which socket could not be
// opened, and why.
func Listen(config Config) (*Server, error) {
	s := &Server{config: config, limits: config.Limits.withDefaults(), closing: make(chan struct{})}
	s.config.Blocks = nil // which SetBlocks may replace
	s.parking.limit = int64(s.limits.Parked)
	s.chains.Store(newChains(config.Blocks))
	addr, err := concrete(config.Addr)
	if err != nil {
		return nil, err
	}
	if err := s.open(addr); err != nil {
		s.closeSockets()
		return nil, err
	}
	return s, nil
}

// open opens the UDP sockets, then the TCP listener.
func (s *Server) open(addr string) error {
	for i := range s.limits.Sockets {
		l, err := listenUDP(s, addr, i)
		if err != nil {
			return listenError("udp", addr, err)
		}
		s.udp = append(s.udp, l)
	}
	s.addr = s.udp[0].local
	l, err := listenTCP(s, addr)
	if err != nil {
		return listenError("tcp", addr, err)
	}
	s.tcp = l
	return nil
}

// listenError says which socket could not be opened and, where the cause is a known one, what to do.
func listenError(network, addr string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, unix.EACCES):
		hint = "; a port below 1024 takes the capability NET_BIND_SERVICE, or root"
	case errors.Is(err, unix.EADDRINUSE):
		hint = "; another program or user has this address: ss -lnp shows which"
	case errors.Is(err, unix.EADDRNOTAVAIL):
		hint = "; no interface has this address: ip addr shows those that there are"
	}
	return fmt.Errorf("listening on %s %s: %w%s", network, addr, err, hint)
}

// concrete returns addr with a port that is free for UDP and TCP in place of port 0. Sockets with SO_REUSEPORT that ask
// the kernel for any port may be given one that is shared already.
func concrete(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("listening on %q: %w", addr, err)
	}
	for tries := 0; port == "0"; tries++ {
		u, err := net.ListenPacket("udp", addr)
		if err != nil {
			return "", fmt.Errorf("listening on udp %s: %w", addr, err)
		}
		defer u.Close()
		_, free, err := net.SplitHostPort(u.LocalAddr().String())
		if err != nil {
			return "", fmt.Errorf("listening on udp %s: %w", addr, err)
		}
		t, err := net.Listen("tcp", net.JoinHostPort(host, free))
		if err == nil {
			t.Close()
			port = free
		} else if tries == 10 {
			return "", fmt.Errorf("listening on tcp %s: %w", addr, err)
		}
	}
	return net.JoinHostPort(host, port), nil
}

// Addr is the address that the server listens on.
func (s *Server) Addr() netip.AddrPort { return s.addr }

// SetBlocks exchanges the blocks for every query that arrives from now on; one that is parked ends in the block where it
// began. What it returns is closed once all of these have ended. Until then both sets must be able to answer; a socket loop
// may be within a step of the former set a moment longer, but lets nothing wait there.
func (s *Server) SetBlocks(blocks []*Block) (ended <-chan struct{}) {
	return s.chains.Swap(newChains(blocks)).retire()
}

// enter is the set of blocks that a query may wait in, until it leaves that.
func (s *Server) enter() *chains {
	for {
		if set := s.chains.Load(); set.enter() {
			return set
		}
	}
}

// Start begins to answer, and returns. It is called once.
func (s *Server) Start() {
	s.started.Store(true)
	for _, l := range s.udp {
		s.running.Go(l.run)
	}
	s.running.Go(s.tcp.run)
}

// Shutdown ends the server without losing what has reached it: each UDP socket is read to the last datagram, connections
// and queries in flight are answered, idle connections are closed. Meanwhile a successor on the same address may be
// answering already. It returns an error if some answers were not given by the end of ctx or of Limits.Grace. A further
// call does nothing.
func (s *Server) Shutdown(ctx context.Context) error {
	if s.ended.Swap(true) {
		return nil
	}
	defer s.closeSockets()
	if !s.started.Load() {
		return nil
	}
	s.wake()
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	ctx, cancel := context.WithTimeout(ctx, s.limits.Grace)
	defer cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("closing %s: %w", s.addr, errUnanswered)
	}
}

// errUnanswered is returned by Shutdown when it had to give up waiting.
var errUnanswered = errors.New("some queries were still without an answer when the time was up")

// wake interrupts every loop that waits for something to read; after that, closing is closed.
func (s *Server) wake() {
	for _, l := range s.udp {
		l.conn.SetReadDeadline(past)
	}
	s.tcp.wake()
	close(s.closing)
}

// past is a deadline that interrupts whoever waits.
var past = time.Unix(1, 0)

// closeSockets ends whatever still runs on them.
func (s *Server) closeSockets() {
	for _, l := range s.udp {
		l.conn.Close()
	}
	if s.tcp != nil {
		s.tcp.close()
	}
}

// dropped shows a reply that the server wrote on its own to the Observer for these.
func (s *Server) dropped(q *message.Query, r *message.Reply) {
	if s.config.Dropped == nil {
		return
	}
	defer func() {
		if v := recover(); v != nil {
			s.panicked(v, nil)
		}
	}()
	s.config.Dropped.Observe(q, r)
}

// panicked reports a panic that was survived.
func (s *Server) panicked(v any, stack []byte) {
	if s.config.Panic != nil {
		s.config.Panic(v, stack)
		return
	}
	s.logf("Recovered from panic in server: %s %v\n%s", s.addr, v, stack)
}

func (s *Server) logf(format string, args ...any) {
	if s.config.Logf != nil {
		s.config.Logf(format, args...)
	}
}

// addrPort is a socket's address, an IPv4 address in its own form; the zero AddrPort where the kernel did not tell.
func addrPort(addr net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := addr.(type) {
	case *net.UDPAddr:
		ap = a.AddrPort()
	case *net.TCPAddr:
		ap = a.AddrPort()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// quota counts what is taken of something limited.
type quota struct {
	limit int64
	taken atomic.Int64
}

// take reports whether there was one left to take.
func (q *quota) take() bool { return q.takeOf(q.limit) }

// takeOf is take where a limit is not the quota's own.
func (q *quota) takeOf(limit int64) bool {
	if q.taken.Add(1) > limit {
		q.taken.Add(-1)
		return false
	}
	return true
}

// give returns one that was taken.
func (q *quota) give() { q.taken.Add(-1) }

// complaint keeps a cause of trouble from filling the log.
type complaint struct{ last atomic.Pointer[time.Time] }

// due reports whether a second has passed since it last said so.
func (c *complaint) due(now time.Time) bool {
	last := c.last.Load()
	return (last == nil || now.Sub(*last) >= time.Second) && c.last.CompareAndSwap(last, &now)
}
