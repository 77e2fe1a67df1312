package upstream

import (
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/message"
)

// datagrams exchanges questions over UDP.
//
// Each question goes out from a port that is chosen at random among portSlots, with an ID chosen at random. A port is
// opened when it is first chosen, by the kernel's own random choice, and serves for Config.Expire at most: a question now
// and then has a port of its own, under load many share one. So somebody who forges replies has to guess ID, port, and
// letter case where the server echoes that, against a moving target; and the connection tracking of the network's nodes,
// which keeps a minute's memory of each port, sees at most a few dozen new ones a second.
type datagrams struct {
	server *Server

	mu      sync.Mutex // before that of a port, where both are held
	random  random
	poll    *poller // nil while no port is open
	ports   map[int32]*port
	last    int32 // id of the port that was opened last
	slots   [portSlots]*port
	waiting queue
	timer   *time.Timer // for the first of the waiting who has to be told, or sent again
	trip    roundTrip
	sweep   *time.Timer // for ports that have served their time
	letters letters

	sweeping bool // the timer runs
	closing  bool
}

const portSlots = 128

func (d *datagrams) init(s *Server) {
	d.server = s
	d.ports = make(map[int32]*port)
	d.timer = time.AfterFunc(time.Hour, d.tick)
	d.timer.Stop()
	d.sweep = time.AfterFunc(time.Hour, d.retireOld)
	d.sweep.Stop()
}

// ask sends a question.
func (d *datagrams) ask(q *Question, a Asker) error {
	now := time.Now()
	p := newPending(q, a, now)
	p.deadline = now.Add(d.server.config.Read)
	d.mu.Lock()
	port, err := d.choose(now)
	if err != nil {
		d.mu.Unlock()
		return fmt.Errorf("asking %s: %w", d.server, err)
	}
	if d.letters.mixed() {
		p.letters = d.random.mix(p.question()[:p.length-4])
	}
	port.mu.Lock()
	defer port.mu.Unlock()
	p.port = port
	p.setID(d.random.id(port.waiting))
	port.waiting = append(port.waiting, p)
	if first := d.waiting.push(p); first || d.waiting.once == p || d.waiting.twice == p {
		d.schedule(now)
	}
	d.mu.Unlock()
	if err := port.send(p.packet); err != nil {
		if port.take(p) {
			// tick finds it in the queue and not in the port, and lets it be
			return &net.OpError{Op: "write", Net: "udp", Source: port.local, Addr: d.server.udpAddr(), Err: err}
		}
	}
	return nil
}

// choose picks a slot at random and returns its port, a new one if need be. The caller holds mu.
func (d *datagrams) choose(now time.Time) (*port, error) {
	slot := &d.slots[d.random.uint16()%portSlots]
	expire := d.server.config.Expire
	if *slot != nil && now.Sub((*slot).opened) < expire {
		d.server.metrics.udp.hits.Inc()
		return *slot, nil
	}
	d.server.metrics.udp.misses.Inc()
	fresh, err := d.open(now)
	if err != nil {
		return d.anyPort(err)
	}
	if *slot != nil {
		d.retire(*slot)
	}
	if *slot = fresh; d.closing || expire <= 0 {
		*slot, fresh.retired = nil, true
		return fresh, nil
	}
	if !d.sweeping {
		d.sweeping = true
		d.sweep.Reset(expire)
	}
	return fresh, nil
}

// anyPort is an open port, for want of a new one.
func (d *datagrams) anyPort(err error) (*port, error) {
	for _, p := range d.slots {
		if p != nil {
			return p, nil
		}
	}
	return nil, err
}

// open opens a port and has its replies received. The caller holds mu.
func (d *datagrams) open(now time.Time) (*port, error) {
	if d.poll == nil {
		poll, err := newPoller()
		if err != nil {
			return nil, err
		}
		d.poll = poll
		go d.receive(poll)
	}
	fd, local, err := d.server.openUDP()
	if err != nil {
		return nil, err
	}
	for d.last++; d.ports[d.last] != nil; d.last++ {
	}
	p := &port{id: d.last, fd: fd, opened: now, local: local}
	if err := d.poll.add(fd, p.id); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	d.ports[p.id] = p
	return p, nil
}

// retire takes a port out of use; it is closed when nothing waits at it. The caller holds mu.
func (d *datagrams) retire(p *port) {
	p.mu.Lock()
	p.retired = true
	idle := len(p.waiting) == 0
	if idle {
		p.close()
	}
	p.mu.Unlock()
	if idle {
		d.forget(p)
	}
}

// forget takes a closed port off the list. The caller holds mu.
func (d *datagrams) forget(p *port) {
	delete(d.ports, p.id)
	if len(d.ports) == 0 && d.closing && d.poll != nil {
		d.poll.close()
		d.poll = nil
	}
}

// receive reads replies until the poller is closed.
func (d *datagrams) receive(poll *poller) {
	buffer := make([]byte, message.MaxLen)
	packer := &message.Packer{Datagrams: true}
	for {
		events, err := poll.wait()
		if err != nil {
			return
		}
		now := time.Now()
		for _, e := range events {
			d.mu.Lock()
			port := d.ports[e.Fd]
			d.mu.Unlock()
			if port != nil {
				d.readable(port, buffer, packer, now)
			}
		}
	}
}

// readable reads one datagram from a port.
func (d *datagrams) readable(port *port, buffer []byte, packer *message.Packer, now time.Time) {
	n, err := port.receive(buffer)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
	case err != nil:
		d.broken(port, err)
	default:
		d.reply(port, buffer[:n], packer, now)
	}
}

// reply finds out what a datagram answers, if anything, and tells who asked.
func (d *datagrams) reply(port *port, packet []byte, packer *message.Packer, now time.Time) {
	p, reply := port.match(packet, packer)
	if p == nil {
		d.server.metrics.wrong.Inc()
		return
	}
	exact := string(packet[message.HeaderLen:message.HeaderLen+p.length]) == string(p.question())
	d.mu.Lock()
	believed := d.letters.believe(p.letters, exact)
	p.folded = p.folded || !believed
	d.mu.Unlock()
	switch {
	case !believed:
		d.server.metrics.wrong.Inc()
	case d.finish(port, p, now):
		d.server.answered(p, reply, now)
	}
}

// finish takes a question off all lists, because of a reply that came now or, for the zero time, because there was none. It
// reports false if somebody else has done so.
func (d *datagrams) finish(port *port, p *pending, now time.Time) bool {
	port.mu.Lock()
	mine := port.take(p)
	done := port.retired && len(port.waiting) == 0
	if done {
		port.close()
	}
	port.mu.Unlock()
	if !mine && !done {
		return false
	}
	d.mu.Lock()
	d.waiting.remove(p)
	if mine && !now.IsZero() && !p.repeated { // else it is not known which of them was replied to
		d.trip.took(now.Sub(p.asked))
	}
	if done {
		d.forget(port)
	}
	d.mu.Unlock()
	return mine
}

// broken gives up a port at which the kernel reports an error, as it does when the server's host says that nobody listens
// there: all who wait at it are told.
func (d *datagrams) broken(port *port, cause error) {
	d.mu.Lock()
	port.mu.Lock()
	lost := port.waiting
	port.waiting = nil
	port.close()
	port.mu.Unlock()
	for _, p := range lost {
		d.waiting.remove(p)
	}
	for i := range d.slots {
		if d.slots[i] == port {
			d.slots[i] = nil
		}
	}
	d.forget(port)
	d.mu.Unlock()
	err := &net.OpError{Op: "read", Net: "udp", Source: port.local, Addr: d.server.udpAddr(), Err: os.NewSyscallError("read", cause)}
	for _, p := range lost {
		p.asker.Answered(nil, err)
	}
}

// schedule sets the timer for what is to be done next. The caller holds mu.
func (d *datagrams) schedule(now time.Time) {
	first := d.waiting.first
	if first == nil {
		return
	}
	at := first.deadline
	if again := d.waiting.due(d.trip.patience()); !again.IsZero() && again.Before(at) {
		at = again
	}
	d.timer.Reset(at.Sub(now))
}

// tick tells those who have waited for too long, and sends again what has had no reply for longer than usual: over UDP
// questions get lost.
func (d *datagrams) tick() {
	now := time.Now()
	d.mu.Lock()
	late := d.waiting.before(now)
	for _, p := range late {
		if p.folded {
			d.letters.doubt()
		}
	}
	again := d.waiting.again(now, d.trip.patience())
	d.schedule(now)
	d.mu.Unlock()
	for _, p := range late {
		if d.finish(p.port, p, time.Time{}) {
			p.asker.Answered(nil, &net.OpError{
				Op: "read", Net: "udp", Source: p.port.local, Addr: d.server.udpAddr(), Err: os.ErrDeadlineExceeded,
			})
		}
	}
	if d.server.Suspect() {
		return // more of the same does not help a server that is down
	}
	for _, p := range again {
		p.port.sendAgain(p)
	}
}

// retireOld closes ports that have served their time, so that none stays open when nothing is asked any more.
func (d *datagrams) retireOld() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sweeping = false
	now, left := time.Now(), false
	for i, p := range d.slots {
		switch {
		case p == nil:
		case now.Sub(p.opened) >= d.server.config.Expire:
			d.slots[i] = nil
			d.retire(p)
		default:
			left = true
		}
	}
	if left && !d.closing {
		d.sweeping = true
		d.sweep.Reset(d.server.config.Expire)
	}
}

// close retires all ports.
func (d *datagrams) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closing = true
	d.sweep.Stop()
	for i, p := range d.slots {
		if p != nil {
			d.slots[i] = nil
			d.retire(p)
		}
	}
	if len(d.ports) == 0 && d.poll != nil {
		d.poll.close()
		d.poll = nil
	}
}
