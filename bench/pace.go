package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// asked is what came of one question.
type asked struct {
	at    time.Time
	took  time.Duration // until its answer, zero for none
	rcode int
}

// answered reports whether there was an answer, and no error.
func (a *asked) answered() bool { return a.took > 0 && a.rcode == dns.RcodeSuccess }

// pace asks a server at a steady pace, however it answers.
type pace struct {
	perSecond int
	name      func(i int) string // of question i, an A question
	conns     []net.Conn
	mu        sync.Mutex
	asked     []asked
	end       chan struct{}
	senders   sync.WaitGroup
	receivers sync.WaitGroup
	failed    error
}

// paceSockets is how many sockets questions are sent from; each has IDs for a few minutes.
const paceSockets = 16

// startPace begins to ask.
func startPace(server netip.AddrPort, perSecond int, name func(i int) string) (*pace, error) {
	p := &pace{perSecond: perSecond, name: name, end: make(chan struct{})}
	for range paceSockets {
		conn, err := net.Dial("udp", server.String())
		if err != nil {
			return nil, fmt.Errorf("dial udp %s: %w", server, err)
		}
		p.conns = append(p.conns, conn)
	}
	for n := range p.conns {
		p.receivers.Go(func() { p.receive(n) })
	}
	p.senders.Go(p.send)
	return p, nil
}

// send sends what is due every millisecond.
func (p *pace) send() {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	start := time.Now()
	for i := 0; ; {
		for due := int(time.Since(start).Seconds() * float64(p.perSecond)); i < due; i++ {
			if err := p.one(i); err != nil {
				p.failed = err
				return
			}
		}
		select {
		case <-p.end:
			return
		case <-tick.C:
		}
	}
}

// one sends question i.
func (p *pace) one(i int) error {
	m := new(dns.Msg).SetQuestion(p.name(i), dns.TypeA)
	m.Id = uint16(i / paceSockets)
	packet, err := m.Pack()
	if err != nil {
		return fmt.Errorf("pack a question for %s: %w", p.name(i), err)
	}
	p.mu.Lock()
	p.asked = append(p.asked, asked{at: time.Now()})
	p.mu.Unlock()
	if _, err := p.conns[i%paceSockets].Write(packet); err != nil {
		return fmt.Errorf("send a question: %w", err)
	}
	return nil
}

// receive notes the answers at socket n.
func (p *pace) receive(n int) {
	buffer := make([]byte, 4096)
	for {
		size, err := p.conns[n].Read(buffer)
		if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if err == nil && size >= 12 {
			p.note(n, binary.BigEndian.Uint16(buffer), int(buffer[3]&0xf), time.Now())
		}
	}
}

func (p *pace) note(n int, id uint16, rcode int, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := int(id)*paceSockets + n; i < len(p.asked) && p.asked[i].took == 0 {
		p.asked[i].took, p.asked[i].rcode = max(now.Sub(p.asked[i].at), 1), rcode
	}
}

// stop ends the asking, waits for late answers, and returns what came of all questions.
func (p *pace) stop(late time.Duration) ([]asked, error) {
	close(p.end)
	p.senders.Wait()
	for _, conn := range p.conns {
		conn.SetReadDeadline(time.Now().Add(late))
	}
	p.receivers.Wait()
	for _, conn := range p.conns {
		conn.Close()
	}
	if most := paceSockets << 16; len(p.asked) > most {
		return nil, fmt.Errorf("asked %d questions, more than there are IDs for, %d", len(p.asked), most)
	}
	return p.asked, p.failed
}
