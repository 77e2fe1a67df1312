package upstream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/plugintest"
)

// peer is the other end of a connection, which the test speaks for.
type peer struct {
	conn net.Conn
	t    testing.TB
}

// startPeers has each connection handled by the test, with its number from 0 on.
func startPeers(t testing.TB, handle func(n int, p peer)) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for n := 0; ; n++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				handle(n, peer{conn, t})
			}()
		}
	}()
	return listener.Addr().(*net.TCPAddr).AddrPort()
}

// read returns the next request, nil when the connection has ended.
func (p peer) read() []byte {
	buffer := make([]byte, message.MaxLen)
	n, err := readFrame(p.conn, buffer)
	if err != nil {
		return nil
	}
	return buffer[:n]
}

func (p peer) write(reply []byte) {
	p.conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
}

// serve answers until the connection ends.
func (p peer) serve() {
	for request := p.read(); request != nil; request = p.read() {
		p.write(edit(request, right))
	}
}

func TestStreamsAreUsedAgain(t *testing.T) {
	var conns atomic.Int64
	addr := startPeers(t, func(n int, p peer) {
		conns.Add(1)
		p.serve()
	})
	s := start(t, Config{Addr: addr, Expire: time.Minute})
	for range 20 {
		if o := one(t, s, "www.example.", message.TCP); o.err != nil {
			t.Fatal(o.err)
		}
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestPipelining: where there may be no more connections, one carries several questions at a time, whose replies come in any order.
func TestPipelining(t *testing.T) {
	const depth, most = 8, 24
	var conns atomic.Int64
	asked := make(chan struct{})
	addr := startPeers(t, func(n int, p peer) {
		conns.Add(1)
		var requests [][]byte
		for range depth {
			requests = append(requests, p.read())
		}
		<-asked
		for i := range requests {
			p.write(edit(requests[depth-1-i], right))
		}
		p.serve()
	})
	s := start(t, Config{Addr: addr, Expire: time.Minute})
	s.streams.most = most / depth
	a := make(asker, most)
	for range most {
		if err := s.Ask(NewQuestion(plugintest.Ask(t, "www.example.", dns.TypeA), false), message.TCP, a); err != nil {
			t.Fatal(err)
		}
	}
	close(asked)
	for range most {
		if o := a.wait(t); o.err != nil {
			t.Fatal(o.err)
		}
	}
	if n := conns.Load(); n != most/depth {
		t.Errorf("%d connections", n)
	}
}

// TestManyStreams: there are never more than maxStreams connections.
func TestManyStreams(t *testing.T) {
	const many = 8*maxStreams + 100
	var conns atomic.Int64
	arrived := make(chan peer, many)
	requests := make(chan []byte, many)
	addr := startPeers(t, func(n int, p peer) {
		conns.Add(1)
		for request := p.read(); request != nil; request = p.read() {
			arrived <- p
			requests <- request
		}
	})
	s := start(t, Config{Addr: addr, Expire: time.Minute, Read: time.Hour, Dial: time.Hour}) // none is given up for another
	a := make(asker, many)
	q := NewQuestion(plugintest.Ask(t, "www.example.", dns.TypeA), false)
	for range many {
		if err := s.Ask(q, message.TCP, a); err != nil {
			t.Fatal(err)
		}
	}
	for range many {
		p := <-arrived
		defer p.conn.Close()
		<-requests
	}
	if n := conns.Load(); n != maxStreams {
		t.Errorf("%d connections", n)
	}
}

// TestClosedByServer: a question that meets a connection which the server closes just then is asked again, once.
func TestClosedByServer(t *testing.T) {
	addr := startPeers(t, func(n int, p peer) {
		p.write(edit(p.read(), right))
		p.read() // the second question, and then the end
	})
	s := start(t, Config{Addr: addr, Expire: time.Minute})
	for range 5 {
		if o := one(t, s, "www.example.", message.TCP); o.err != nil {
			t.Fatal(o.err)
		}
	}
}

// TestSlow: a question that is never answered holds up no other, though the server answers those of a connection in order.
func TestSlow(t *testing.T) {
	heard := make(chan struct{}, 1)
	addr := startPeers(t, func(n int, p peer) {
		for request := p.read(); request != nil; request = p.read() {
			if strings.HasPrefix(string(request[message.HeaderLen:]), "\x06silent") {
				heard <- struct{}{}
				for p.read() != nil {
				}
				return
			}
			p.write(edit(request, right))
		}
	})
	s := start(t, Config{Addr: addr, Expire: time.Minute})
	silent := newAsker()
	if err := s.Ask(NewQuestion(plugintest.Ask(t, "silent.example.", dns.TypeA), false), message.TCP, silent); err != nil {
		t.Fatal(err)
	}
	<-heard
	for range 3 {
		if o := one(t, s, "www.example.", message.TCP); o.err != nil {
			t.Error(o.err)
		}
	}
	if len(silent) > 0 {
		t.Error("they waited until it was given up")
	}
}

// TestAnother: which questions are asked over another connection when theirs ends.
func TestAnother(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		name   string
		why    error
		served bool
		left   time.Duration
		again  bool
		want   bool
	}{
		{"closed, after replies", io.EOF, true, time.Second, false, true},
		{"closed, without one", io.EOF, false, time.Second, false, false},
		{"closed, the second time", io.EOF, true, time.Second, true, false},
		{"silent about an earlier one", os.ErrDeadlineExceeded, false, time.Second, false, true},
		{"silent about this one", os.ErrDeadlineExceeded, true, 0, false, false},
		{"silent about an earlier one, the second time", os.ErrDeadlineExceeded, true, time.Second, true, false},
	} {
		p := &pending{again: tt.again, deadline: now.Add(tt.left)}
		if got := p.deservesAnother(tt.why, tt.served, now); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

// TestClosedAfterOne: a server that closes each connection after a reply answers any number of questions at once.
func TestClosedAfterOne(t *testing.T) {
	const many = 40
	addr := startPeers(t, func(n int, p peer) { p.write(edit(p.read(), right)) })
	s := start(t, Config{Addr: addr, Expire: time.Minute})
	a := make(asker, many)
	for range many {
		if err := s.Ask(NewQuestion(plugintest.Ask(t, "www.example.", dns.TypeA), false), message.TCP, a); err != nil {
			t.Fatal(err)
		}
	}
	for range many {
		if o := a.wait(t); o.err != nil {
			t.Error(o.err)
		}
	}
}

// TestRetryIsBounded: also what is asked once more opens no more connections than there may be.
func TestRetryIsBounded(t *testing.T) {
	ss := &New(Config{Addr: netip.MustParseAddrPort("127.0.0.1:53")}).streams
	ss.most = 2
	for range ss.most {
		ss.open = append(ss.open, &stream{owner: ss, writable: make(chan struct{}, 1)})
	}
	for range 5 {
		ss.retry(newPending(NewQuestion(plugintest.Ask(t, "www.example.", dns.TypeA), false), newAsker(), time.Now()))
	}
	if len(ss.open) != ss.most || ss.open[0].load()+ss.open[1].load() != 5 {
		t.Errorf("%d connections, at which %d and %d questions wait", len(ss.open), ss.open[0].load(), ss.open[1].load())
	}
}

// TestClosedUnheard: a server that closes a new connection is not asked again.
func TestClosedUnheard(t *testing.T) {
	var conns atomic.Int64
	addr := startPeers(t, func(n int, p peer) {
		conns.Add(1)
		p.read()
	})
	s := start(t, Config{Addr: addr, Expire: time.Minute})
	if o := one(t, s, "www.example.", message.TCP); o.err == nil || o.err.Error() != "EOF" {
		t.Errorf("error %v", o.err)
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestStreamSilence(t *testing.T) {
	addr := startPeers(t, func(n int, p peer) {
		for p.read() != nil {
		}
	})
	s := start(t, Config{Addr: addr, Expire: time.Minute, Read: 20 * time.Millisecond})
	for range 2 {
		err := one(t, s, "www.example.", message.TCP).err
		if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.HasPrefix(err.Error(), "read tcp 127.0.0.1:") || !strings.HasSuffix(err.Error(), "->"+addr.String()+": i/o timeout") {
			t.Errorf("error %v", err)
		}
	}
	if n := testutil.ToFloat64(s.metrics.tcp.misses); n != 2 {
		t.Errorf("%v connections: one that is silent is not used again", n)
	}
}

// TestOneIsLate: a connection over which other replies come goes on.
func TestOneIsLate(t *testing.T) {
	addr := startPeers(t, func(n int, p peer) {
		p.write(edit(p.read(), right))
		late := p.read()
		p.write(edit(p.read(), right))
		next := p.read() // after the first one was given up
		p.write(edit(late, right))
		p.write(edit(next, right))
		p.serve()
	})
	s := start(t, Config{Addr: addr, Expire: time.Minute})
	s.streams.most = 1
	if o := one(t, s, "www.example.", message.TCP); o.err != nil {
		t.Fatal(o.err)
	}
	late := newAsker()
	if err := s.Ask(NewQuestion(plugintest.Ask(t, "late.example.", dns.TypeA), false), message.TCP, late); err != nil {
		t.Fatal(err)
	}
	if o := one(t, s, "www.example.", message.TCP); o.err != nil {
		t.Fatal(o.err)
	}
	stream := s.streams.open[0]
	stream.mu.Lock() // its time ends, and nobody else's
	stream.waiting[0].deadline = time.Now()
	stream.conn.SetReadDeadline(stream.waiting[0].deadline)
	stream.mu.Unlock()
	if o := late.wait(t); !errors.Is(o.err, os.ErrDeadlineExceeded) {
		t.Fatalf("error %v", o.err)
	}
	if o := one(t, s, "www.example.", message.TCP); o.err != nil {
		t.Fatal(o.err)
	}
	if n := testutil.ToFloat64(s.metrics.tcp.misses); n != 1 {
		t.Errorf("%v connections", n)
	}
	if n := testutil.ToFloat64(s.metrics.wrong); n != 1 {
		t.Errorf("%v wrong replies", n)
	}
}

// TestBrokenReply: over a connection there is nobody else to wait for.
func TestBrokenReply(t *testing.T) {
	addr := startPeers(t, func(n int, p peer) {
		request := p.read()
		p.write(edit(request, func(m *dns.Msg) { m.Question[0].Name = "other.example." }))
		p.serve()
	})
	s := start(t, Config{Addr: addr, Expire: time.Minute})
	if o := one(t, s, "www.example.", message.TCP); !errors.Is(o.err, message.ErrOtherQuestion) {
		t.Errorf("error %v", o.err)
	}
	if o := one(t, s, "www.example.", message.TCP); o.err != nil {
		t.Error(o.err)
	}
}

func TestRefused(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().(*net.TCPAddr).AddrPort()
	listener.Close()
	s := start(t, Config{Addr: addr, Expire: time.Minute})
	for range 2 {
		o := one(t, s, "www.example.", message.TCP)
		if want := fmt.Sprintf("dial tcp %s: connect: connection refused", addr); !errors.Is(o.err, syscall.ECONNREFUSED) || o.err.Error() != want {
			t.Errorf("error %v, want %s", o.err, want)
		}
	}
}

// TestStreamsEnd: what ends a connection at which nothing waits. The other end sees it.
func TestStreamsEnd(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config Config
		end    func(*Server)
		want   int // connections for three questions, each of which is over before the next
	}{
		{"nothing", Config{Expire: time.Minute}, nil, 1},
		{"expire", Config{Expire: time.Millisecond}, nil, 3},
		{"no expire", Config{}, nil, 3},
		{"max_age", Config{Expire: time.Minute, MaxAge: time.Nanosecond}, nil, 3},
		{"a long max_age", Config{Expire: time.Minute, MaxAge: time.Minute}, nil, 1},
		{"close", Config{Expire: time.Minute}, (*Server).Close, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var conns atomic.Int64
			ended := make(chan struct{}, 8)
			tt.config.Addr = startPeers(t, func(n int, p peer) {
				conns.Add(1)
				p.serve()
				ended <- struct{}{}
			})
			s := start(t, tt.config)
			for i := range 3 {
				if o := one(t, s, "www.example.", message.TCP); o.err != nil {
					t.Fatal(o.err)
				}
				if tt.end != nil {
					tt.end(s)
				}
				if tt.want == 3 && tt.config.MaxAge == 0 {
					<-ended
				}
				if n := conns.Load(); n > int64(i+1) {
					t.Errorf("%d connections for %d questions", n, i+1)
				}
			}
			if n := conns.Load(); n != int64(tt.want) {
				t.Errorf("%d connections, want %d", n, tt.want)
			}
		})
	}
}

// TestMaxIdle: of several connections that have become idle only so many are kept.
func TestMaxIdle(t *testing.T) {
	const most, kept = 4, 1
	ended := make(chan struct{}, 8)
	arrived := make(chan struct{}, most)
	release := make(chan struct{})
	addr := startPeers(t, func(n int, p peer) {
		request := p.read()
		arrived <- struct{}{}
		<-release
		p.write(edit(request, right))
		p.serve()
		ended <- struct{}{}
	})
	s := start(t, Config{Addr: addr, Expire: time.Minute, MaxIdle: kept})
	a := make(asker, most)
	for range most {
		if err := s.Ask(NewQuestion(plugintest.Ask(t, "www.example.", dns.TypeA), false), message.TCP, a); err != nil {
			t.Fatal(err)
		}
	}
	for range most {
		<-arrived
	}
	close(release)
	for range most {
		if o := a.wait(t); o.err != nil {
			t.Fatal(o.err)
		}
	}
	for range most - kept {
		<-ended
	}
	if o := one(t, s, "www.example.", message.TCP); o.err != nil {
		t.Fatal(o.err)
	}
}

// FuzzStream: whatever comes over a connection, in whatever pieces, each message is taken once and the rest is kept.
func FuzzStream(f *testing.F) {
	f.Add([]byte{0, 3, 1, 2, 3, 0, 0, 0, 1}, uint8(2))
	f.Add([]byte{0xFF, 0xFF, 0, 0}, uint8(1))
	server := New(Config{Addr: netip.MustParseAddrPort("127.0.0.1:53")})
	f.Fuzz(func(t *testing.T, data []byte, piece uint8) {
		s := &stream{owner: &server.streams}
		packer := new(message.Packer)
		before := testutil.ToFloat64(server.metrics.wrong)
		var kept []byte
		for rest := data; len(rest) > 0; {
			n := min(int(piece)+1, len(rest))
			kept = s.take(append(kept, rest[:n]...), packer)
			rest = rest[n:]
		}
		messages := 0
		for len(data) >= 2 && len(data) >= 2+int(binary.BigEndian.Uint16(data)) {
			data = data[2+int(binary.BigEndian.Uint16(data)):]
			messages++
		}
		if string(kept) != string(data) {
			t.Errorf("kept % x, want % x", kept, data)
		}
		if n := testutil.ToFloat64(server.metrics.wrong) - before; int(n) != messages {
			t.Errorf("%v messages, want %d", n, messages)
		}
	})
}
