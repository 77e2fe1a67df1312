package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
)

// framed is a query for type A in the form that TCP has it.
func framed(t testing.TB, id int, name string) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, dns.TypeA)
	m.Id = uint16(id)
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return frame(nil, packet)
}

// write sends bytes over a connection as they are.
func (c *client) write(b []byte) {
	c.t.Helper()
	if _, err := c.Conn.Conn.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// closed waits for the server to close the connection, without another answer.
func (c *client) closed() {
	c.t.Helper()
	n, err := c.Conn.Conn.Read(make([]byte, 1))
	if n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Errorf("%d bytes, %v instead of the end of the connection", n, err)
	}
}

// TestTCPPipelined sends many queries without waiting, in pieces that break where queries do not.
func TestTCPPipelined(t *testing.T) {
	s := start(t, Config{Blocks: []*Block{block(t, ".", answering(1))}})
	var all []byte
	var want []int
	for id := range 500 {
		all = append(all, framed(t, id, "x.example.")...)
		want = append(want, id)
	}
	for _, piece := range []int{len(all), 1000, 7, 1} {
		c := newClient(t, "tcp", s.Addr().String())
		go func() {
			for chunk := range slices.Chunk(all, piece) {
				c.Conn.Conn.Write(chunk)
			}
		}()
		if got := c.receive(500); !slices.Equal(got, want) {
			t.Errorf("pieces of %d: answers %v", piece, got)
		}
	}
}

// TestTCPOutOfOrder checks that a query that waits holds up no other one (RFC 7766 section 7), and is answered although
// the client has closed its direction.
func TestTCPOutOfOrder(t *testing.T) {
	let := make(chan struct{})
	s := start(t, Config{Blocks: []*Block{block(t, ".", parking(let))}})
	c := newClient(t, "tcp", s.Addr().String())
	c.write(slices.Concat(framed(t, 1, "a.slow."), framed(t, 2, "a.fast."), framed(t, 3, "b.slow."), framed(t, 4, "b.fast.")))
	if err := c.Conn.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(c.receive(2)); got != "[2 4]" {
		t.Errorf("first answers %s", got)
	}
	close(let)
	late := c.receive(2)
	slices.Sort(late)
	if fmt.Sprint(late) != "[1 3]" {
		t.Errorf("late answers %v", late)
	}
	c.closed()
}

// TestTCPParkedPerConn checks that a connection with too many waiting queries is not read any further, and no other one
// suffers.
func TestTCPParkedPerConn(t *testing.T) {
	let := make(chan struct{})
	var waiting atomic.Int32
	count := step(func(q *message.Query, r *message.Reply) message.Verdict {
		if q.MayBlock {
			waiting.Add(1)
		}
		return parking(let)(q, r)
	})
	s := start(t, Config{Blocks: []*Block{block(t, ".", count)}, Limits: Limits{ParkedPerConn: 2}})
	c := newClient(t, "tcp", s.Addr().String())
	c.write(framed(t, 0, "x.fast."))
	for id := 1; id < 6; id++ {
		c.write(framed(t, id, "x.slow."))
	}
	if got := fmt.Sprint(c.receive(1)); got != "[0]" {
		t.Errorf("first answer %s", got)
	}
	exchange(t, "tcp", s.Addr().String(), "x.fast.")
	if n := waiting.Load(); n > 2 {
		t.Errorf("%d queries of one connection are waiting", n)
	}
	close(let)
	late := c.receive(5)
	slices.Sort(late)
	if fmt.Sprint(late) != "[1 2 3 4 5]" {
		t.Errorf("late answers %v", late)
	}
}

// TestTCPFrames sends frames that hold no query: they are waited out, and do not end the connection.
func TestTCPFrames(t *testing.T) {
	s := start(t, Config{Blocks: []*Block{block(t, ".", answering(1))}})
	c := newClient(t, "tcp", s.Addr().String())
	response := framed(t, 7, "x.")
	response[4] |= 0x80
	long := new(dns.Msg).SetQuestion("x.", dns.TypeA)
	packet, err := long.Pack()
	if err != nil {
		t.Fatal(err)
	}
	trailing := frame(nil, append(packet, make([]byte, 65535-len(packet))...))
	c.write(slices.Concat([]byte{0, 0}, []byte{0, 5, 1, 2, 3, 4, 5}, response, trailing, framed(t, 1, "x."), []byte{0, 12}, make([]byte, 12), framed(t, 2, "x.")))
	if got, want := fmt.Sprint(c.receive(4)), fmt.Sprintf("[%d 1 0 2]", long.Id); got != want {
		t.Errorf("answers %s, want %s", got, want)
	}
}

// TestTCPLongAnswers reads nothing until many long answers are due.
func TestTCPLongAnswers(t *testing.T) {
	var set []byte
	for i := range 5000 {
		set = message.AppendAddress(set, []byte{10, 0, byte(i >> 8), byte(i)}, 5)
	}
	long := step(func(_ *message.Query, r *message.Reply) message.Verdict {
		r.Addresses(message.Answer, message.QuestionAt, set)
		return message.Done
	})
	s := start(t, Config{Blocks: []*Block{block(t, ".", long)}, Limits: Limits{Write: time.Minute}}) // however busy the machine is
	c := newClient(t, "tcp", s.Addr().String())
	c.SetDeadline(time.Now().Add(time.Minute))
	var all []byte
	for id := range 100 {
		all = append(all, framed(t, id, "x.")...)
	}
	c.write(all)
	for id := range 100 {
		m, err := c.ReadMsg()
		if err != nil {
			t.Fatal(err)
		}
		if int(m.Id) != id || !m.Truncated || len(m.Answer) != (message.MaxLen-12-7)/16 {
			t.Fatalf("answer %d has ID %d, %d records, TC %v", id, m.Id, len(m.Answer), m.Truncated)
		}
	}
}

// TestTCPTimeouts checks when a silent connection is closed.
func TestTCPTimeouts(t *testing.T) {
	let := make(chan struct{})
	limits := Limits{FirstMessage: 100 * time.Millisecond, Idle: 150 * time.Millisecond}
	s := start(t, Config{Blocks: []*Block{block(t, ".", parking(let))}, Limits: limits})
	for _, tt := range []struct {
		name    string
		written []byte
		answers int
		want    time.Duration
	}{
		{"nothing", nil, 0, limits.FirstMessage},
		{"one byte", []byte{0}, 0, limits.FirstMessage},
		{"all but one byte", framed(t, 1, "x.")[:18], 0, limits.FirstMessage},
		{"a query", framed(t, 1, "x."), 1, limits.Idle},
		{"a query and one byte", append(framed(t, 1, "x."), 0), 1, limits.Idle},
	} {
		began := time.Now()
		c := newClient(t, "tcp", s.Addr().String())
		c.write(tt.written)
		c.receive(tt.answers)
		c.closed()
		if took := time.Since(began); took < tt.want || took > tt.want+3*time.Second {
			t.Errorf("%s: closed after %v, want %v", tt.name, took, tt.want)
		}
	}

	began := time.Now()
	c := newClient(t, "tcp", s.Addr().String())
	c.write(framed(t, 1, "x.slow."))
	time.AfterFunc(2*limits.Idle, func() { close(let) })
	c.receive(1)
	c.closed()
	if took := time.Since(began); took < 3*limits.Idle {
		t.Errorf("closed %v after a query whose answer took %v", took, 2*limits.Idle)
	}
}

// TestTCPTrickle checks that single bytes do not keep a connection open.
func TestTCPTrickle(t *testing.T) {
	s := start(t, Config{Blocks: []*Block{block(t, ".", answering(1))}, Limits: Limits{FirstMessage: 200 * time.Millisecond}})
	c := newClient(t, "tcp", s.Addr().String())
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range tick.C {
			if _, err := c.Conn.Conn.Write([]byte{1}); err != nil {
				return
			}
		}
	}()
	c.closed()
	<-done
}

// TestTCPWriteTimeout checks that a client which takes no answers is given up.
func TestTCPWriteTimeout(t *testing.T) {
	set := message.AppendAddress(nil, []byte{10, 0, 0, 1}, 5)
	for len(set) < 60000 {
		set = append(set, set...)
	}
	long := step(func(_ *message.Query, r *message.Reply) message.Verdict {
		r.Addresses(message.Answer, message.QuestionAt, set)
		return message.Done
	})
	s := start(t, Config{Blocks: []*Block{block(t, ".", long)}, Limits: Limits{Write: 100 * time.Millisecond}})
	c := newClient(t, "tcp", s.Addr().String())
	query := bytes.Repeat(framed(t, 1, "x."), 100)
	for err := error(nil); err == nil; {
		_, err = c.Conn.Conn.Write(query)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("the connection is still open")
		}
	}
}

// TestTCPSilentCrowd opens more connections than there may be, silent ones and some that send one byte: who asks is
// answered meanwhile, and each of them costs little memory.
func TestTCPSilentCrowd(t *testing.T) {
	const limit = 150
	s := start(t, Config{Blocks: []*Block{block(t, ".", answering(1))}, Limits: Limits{Connections: limit}})
	known := newClient(t, "tcp", s.Addr().String())
	known.send(1, "x.")
	known.receive(1)
	before := memory()
	var first *client
	for i := range 3 * limit {
		c := newClient(t, "tcp", s.Addr().String())
		if first == nil {
			first = c
		}
		if i%2 == 0 {
			c.write([]byte{0})
		}
		if i%50 == 0 {
			exchange(t, "tcp", s.Addr().String(), "x.")
		}
	}
	first.closed()
	known.send(2, "x.") // has asked before: it does not give way to those that never did
	known.receive(1)
	s.tcp.mu.Lock()
	open := s.tcp.newcomers.Len() + s.tcp.known.Len()
	s.tcp.mu.Unlock()
	if open > limit {
		t.Errorf("%d connections are open, the limit is %d", open, limit)
	}
	if each := (memory() - before) / limit; each > 16<<10 {
		t.Errorf("%d bytes for each connection", each)
	}
}

// memory is what the process holds on its heap and stacks.
func memory() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}

// TestTCPBusyCrowd checks that connections whose answers are due are not closed for others.
func TestTCPBusyCrowd(t *testing.T) {
	let := make(chan struct{})
	s := start(t, Config{Blocks: []*Block{block(t, ".", parking(let))}, Limits: Limits{Connections: 2}})
	var busy []*client
	for range 2 {
		c := newClient(t, "tcp", s.Addr().String())
		c.write(append(framed(t, 1, "x.slow."), framed(t, 2, "x.fast.")...))
		c.receive(1)
		busy = append(busy, c)
	}
	newClient(t, "tcp", s.Addr().String()).closed()
	close(let)
	for _, c := range busy {
		c.receive(1)
	}
}

// TestTCPNoDescriptors takes all file descriptors away: an idle connection gives way, and the new one is served.
func TestTCPNoDescriptors(t *testing.T) {
	var logged atomic.Int32
	s := start(t, Config{
		Blocks: []*Block{block(t, ".", answering(1))},
		Logf:   func(string, ...any) { logged.Add(1) },
	})
	idle := newClient(t, "tcp", s.Addr().String())
	idle.send(1, "x.")
	idle.receive(1)

	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "client")
	defer f.Close()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	few := limit
	few.Cur = 0
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	err = syscall.Connect(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: int(s.Addr().Port())})
	if err == nil {
		idle.closed()
	}
	if e := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); e != nil || err != nil {
		t.Fatal(e, err)
	}
	if _, err := f.Write(framed(t, 2, "x.")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(f, make([]byte, 2)); err != nil {
		t.Errorf("no answer after descriptors were free again: %v", err)
	}
	if n := logged.Load(); n != 1 {
		t.Errorf("%d log lines", n)
	}
}

// TestTCPDrain ends a server with connections in every state: what was sent is answered, the rest is closed at once.
func TestTCPDrain(t *testing.T) {
	let := make(chan struct{})
	s, err := Listen(Config{Addr: "127.0.0.1:0", Blocks: []*Block{block(t, ".", parking(let))}, Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	unaccepted := newClient(t, "tcp", s.Addr().String()) // waits in the listener's queue
	unaccepted.send(1, "x.fast.")
	s.Start()
	idle := newClient(t, "tcp", s.Addr().String())
	idle.send(1, "x.fast.")
	idle.receive(1)
	silent := newClient(t, "tcp", s.Addr().String())
	busy := newClient(t, "tcp", s.Addr().String())
	busy.write(slices.Concat(framed(t, 1, "x.slow."), framed(t, 2, "x.fast.")))
	busy.receive(1)

	ended := make(chan error)
	go func() { ended <- s.Shutdown(context.Background()) }()
	unaccepted.receive(1)
	unaccepted.closed()
	idle.closed()
	silent.closed()
	close(let)
	busy.receive(1)
	busy.closed()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", s.Addr().String()); err == nil {
		t.Error("connections are still accepted")
	}
}
