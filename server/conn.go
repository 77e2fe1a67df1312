package server

import (
	"container/list"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// conn is a TCP connection (RFC 7766). While it is silent it holds no buffer, but for what it has sent of a message whose
// rest is still to come.
type conn struct {
	listener    *tcpListener
	tcp         *net.TCPConn
	raw         syscall.RawConn
	from, local netip.AddrPort
	shard       int

	place   *list.Element // on one of the listener's lists; guarded by the listener's mutex
	touched time.Time     // when it was last moved to the end of its list

	opened   time.Time
	messages int       // complete ones so far, 0 or 1 is all that matters
	asked    time.Time // when the last of them came; before the first, opened
	last     time.Time // after the server's end has begun: until when to read
	final    bool      // something was read after that
	kept     []byte    // the beginning of a message that has not come whole
	skip     int       // bytes still to come of a message that is longer than maxRequest
	read     func(fd uintptr) bool
	got      *stream // what readNow has filled
	gotErr   error

	due      atomic.Int32  // parked queries that have no answer yet
	answered atomic.Int64  // when the last of them got it, in nanoseconds since opened: clocks are set, too
	slots    chan struct{} // filled by each of them, at most Limits.ParkedPerConn; nil before the first
	waiting  sync.WaitGroup
}

func newConn(l *tcpListener, tcp *net.TCPConn, raw syscall.RawConn, shard int) *conn {
	now := time.Now()
	c := &conn{listener: l, tcp: tcp, raw: raw, shard: shard, opened: now, asked: now}
	c.from, c.local = addrPort(tcp.RemoteAddr()), addrPort(tcp.LocalAddr())
	c.read = c.readNow
	return c
}

// serve answers what comes over the connection, until that falls silent or closes.
func (c *conn) serve() {
	defer c.listener.forget(c)
	defer c.tcp.Close()
	for {
		s, err := c.receive()
		if err != nil {
			break
		}
		more := c.answer(s)
		c.listener.streams.Put(s)
		if !more {
			break
		}
	}
	c.waiting.Wait() // a client may close its direction and still wait for answers
}

// receive waits for bytes and returns a stream that holds them, behind those of an incomplete message.
func (c *conn) receive() (*stream, error) {
	for {
		c.tcp.SetReadDeadline(c.deadline())
		if c.listener.ending.Load() { // asked for after the deadline is set, which wake might not have seen
			c.tcp.SetReadDeadline(c.lastDeadline())
		}
		err := c.raw.Read(c.read)
		if err == nil {
			return c.got, c.gotErr
		}
		switch {
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return nil, err
		case c.silent() && !c.final && overtime(c.raw, c.read):
			c.final = c.listener.ending.Load()
			return c.got, c.gotErr
		case c.silent():
			return nil, err
		}
	}
}

// deadline is when the connection has been silent for too long, as things are now.
func (c *conn) deadline() time.Time {
	limits := &c.listener.server.limits
	if c.messages == 0 {
		return c.asked.Add(limits.FirstMessage)
	}
	if c.due.Load() > 0 {
		return time.Now().Add(limits.Idle)
	}
	since := c.asked
	if answered := c.opened.Add(time.Duration(c.answered.Load())); answered.After(since) {
		since = answered
	}
	return since.Add(limits.Idle)
}

// lastDeadline is when to stop reading, now that the server ends: almost at once for a connection that had its answers, a
// moment later for one that has only been opened and whose question may be on its way.
func (c *conn) lastDeadline() time.Time {
	if c.last.IsZero() {
		<-c.listener.server.closing
		wait := stragglers
		if c.messages == 0 {
			wait = newcomerWait
		}
		c.last = time.Now().Add(wait)
	}
	return c.last
}

// newcomerWait is how long an ending server waits for the first question of a connection.
const newcomerWait = 250 * time.Millisecond

// silent reports, after a deadline, whether that was the one that counts.
func (c *conn) silent() bool {
	if c.listener.ending.Load() {
		return !c.last.IsZero() && !time.Now().Before(c.last)
	}
	return !time.Now().Before(c.deadline())
}

// readNow reads without waiting, and reports whether there is no need to. A buffer is taken for as long as it has
// something to hold.
func (c *conn) readNow(fd uintptr) bool {
	s := c.listener.streams.Get().(*stream)
	kept := copy(s.in, c.kept)
	n, err := unix.Read(int(fd), s.in[kept:])
	for err == unix.EINTR {
		n, err = unix.Read(int(fd), s.in[kept:])
	}
	if n == 0 && err == nil {
		err = io.EOF
	}
	if err != nil {
		c.listener.streams.Put(s)
		c.got, c.gotErr = nil, err
		return err != unix.EAGAIN
	}
	s.have = kept + n
	c.got, c.gotErr = s, nil
	return true
}

// answer answers the messages that have come whole, in as few writes as possible, and keeps the rest. It reports whether
// the connection goes on.
func (c *conn) answer(s *stream) bool {
	now := time.Now()
	s.begin(c)
	rest := s.in[:s.have]
	for {
		var packet []byte
		var whole bool
		if packet, rest, whole = c.next(rest); !whole {
			break
		}
		c.messages, c.asked = 1, now
		s.arrived(c.from, c.local, now)
		if later := s.respond(packet); later != nil && !c.park(later, s) {
			return false
		}
		if len(s.out) >= flushAt && !c.write(s.flush()) {
			return false
		}
	}
	c.kept = append([]byte(nil), rest...)
	c.touch(now)
	return c.write(s.flush())
}

// next takes the next message off data. Of one longer than maxRequest it returns the beginning, as soon as that is there.
func (c *conn) next(data []byte) (packet, rest []byte, whole bool) {
	skipped := min(c.skip, len(data))
	c.skip -= skipped
	data = data[skipped:]
	if len(data) < 2 {
		return nil, data, false
	}
	length := int(data[0])<<8 | int(data[1])
	end := 2 + min(length, maxRequest)
	if len(data) < end {
		return nil, data, false
	}
	c.skip = 2 + length - end
	return data[2:end], data[end:], true
}

// touch tells the listener, once a second, that the connection is not silent.
func (c *conn) touch(now time.Time) {
	if c.messages > 0 && now.Sub(c.touched) > time.Second {
		c.touched = now
		c.listener.touch(c)
	}
}

// write sends whole messages. Calls from several goroutines do not mix them up.
func (c *conn) write(messages []byte) bool {
	if len(messages) == 0 {
		return true
	}
	c.tcp.SetWriteDeadline(time.Now().Add(c.listener.server.limits.Write))
	_, err := c.tcp.Write(messages)
	return err == nil
}

// park lets a query go on elsewhere; its answer is sent whenever it is there. If the connection has too many of them, it
// waits for one to end before it reads on.
func (c *conn) park(p *parked, s *stream) bool {
	if c.slots == nil {
		c.slots = make(chan struct{}, c.listener.server.limits.ParkedPerConn)
	}
	c.due.Add(1)
	alive := true
	select {
	case c.slots <- struct{}{}:
	default:
		alive = c.write(s.flush())
		c.slots <- struct{}{}
	}
	c.waiting.Add(1)
	p.exit = c
	p.goOn()
	return alive
}

// leave sends the answer to a parked query, from a goroutine of its own: the client may be slow to take it, and who calls
// must not wait.
func (c *conn) leave(p *parked, answer []byte) { go c.sendLate(p, answer) }

func (c *conn) sendLate(p *parked, answer []byte) {
	defer c.waiting.Done()
	if answer != nil && !c.write(frame(nil, answer)) {
		c.tcp.Close()
	}
	p.free(answer)
	c.answered.Store(int64(time.Since(c.opened)))
	c.due.Add(-1)
	<-c.slots
}
