package route

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// client asks a DNS server one question after the other.
type client struct {
	space    *Space
	server   netip.AddrPort
	patience time.Duration // how long it waits for an answer until it asks the next question
	conns    []net.Conn    // that it asks over in turn; none has it ask over a new one each time

	asked, lost int
	last        time.Time  // when the last question was asked that was lost
	open        []question // those whose answers may come yet
}

// question is one that a client has asked.
type question struct {
	conn  net.Conn
	id    uint16
	asked time.Time
}

// soon is the patience of a client that is to ask on, whether it is answered or not.
const soon = 200 * time.Millisecond

// keep has the client ask over one connection more. It asks over it at once: the kernel chooses then who answers what comes
// over it.
func (c *client) keep(t *testing.T) {
	t.Helper()
	conn, err := c.dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c.conns = append(c.conns, conn)
	c.askOver(conn)
}

func (c *client) dial() (conn net.Conn, err error) {
	err = c.space.Do(func() (err error) {
		conn, err = net.Dial("udp", c.server.String())
		return err
	})
	return conn, err
}

// begin has the client ask until the returned function is called, or the test ends.
func (c *client) begin(t *testing.T) (end func()) {
	stop := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				c.ask(t)
			}
		}
	})
	end = sync.OnceFunc(func() {
		close(stop)
		asking.Wait()
	})
	t.Cleanup(end)
	return end
}

func (c *client) ask(t *testing.T) {
	if len(c.conns) > 0 {
		c.askOver(c.conns[c.asked%len(c.conns)])
		return
	}
	conn, err := c.dial()
	if err != nil {
		t.Error(err)
		return
	}
	if c.askOver(conn); !slices.ContainsFunc(c.open, func(q question) bool { return q.conn == conn }) {
		conn.Close()
	}
}

// askOver asks one question. It stays open where no answer comes while the client waits.
func (c *client) askOver(conn net.Conn) {
	q := question{conn, uint16(c.asked), time.Now()}
	c.asked++
	c.open = append(c.open, q)
	message := new(dns.Msg).SetQuestion(dnsName, dns.TypeA)
	message.Id = q.id
	err := (&dns.Conn{Conn: conn}).WriteMsg(message)
	if err == nil {
		err = c.hear(q, q.asked.Add(c.patience))
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.open = slices.DeleteFunc(c.open, func(o question) bool { return o == q })
		c.lose(q)
	}
}

// hear waits for the answer to a question. One that comes late, to an earlier question, is an answer too.
func (c *client) hear(q question, until time.Time) error {
	over := &dns.Conn{Conn: q.conn}
	err := q.conn.SetReadDeadline(until)
	for err == nil && slices.Contains(c.open, q) {
		var answer *dns.Msg
		if answer, err = over.ReadMsg(); err == nil {
			c.open = slices.DeleteFunc(c.open, func(o question) bool { return o.conn == q.conn && o.id == answer.Id })
		}
	}
	return err
}

// settle counts what is lost, once the client has ended. A question that was asked after a time is lost if no answer comes at
// all: the machine may have had other things to do. What was asked before is not waited for.
func (c *client) settle(after time.Time) {
	end := time.Now().Add(Patience)
	for _, q := range slices.Clone(c.open) {
		if q.asked.After(after) {
			_ = c.hear(q, end)
		}
	}
	for _, q := range c.open {
		c.lose(q)
		q.conn.Close() // once more where it is kept, which does no harm
	}
	c.open = nil
}

func (c *client) lose(q question) {
	c.lost++
	if q.asked.After(c.last) {
		c.last = q.asked
	}
}
