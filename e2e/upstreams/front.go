package upstreams

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/e2e/ask"
)

// front stands before a resolver: it passes questions on, byte for byte, but for those that are to be answered wrongly.
type front struct {
	resolver netip.AddrPort
	conns    sync.Pool // of *ask.Conn
	group    sync.WaitGroup
	closing  chan struct{}

	mu   sync.Mutex
	open map[io.Closer]bool
	told map[asked][][]byte // the resolver's replies, each once
}

// asked tells questions apart that a resolver has the same records for, and who asked.
type asked struct {
	client netip.Addr
	name   string // lower case
	qtype  uint16
}

// startFront listens on all addresses, over UDP and TCP.
func startFront(addresses []netip.AddrPort, resolver netip.AddrPort) (*front, error) {
	f := &front{resolver: resolver, closing: make(chan struct{}), open: map[io.Closer]bool{}, told: map[asked][][]byte{}}
	for _, a := range addresses {
		udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(a))
		if err != nil {
			f.stop()
			return nil, fmt.Errorf("listen as an upstream: %w", err)
		}
		f.keep(udp)
		tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(a))
		if err != nil {
			f.stop()
			return nil, fmt.Errorf("listen as an upstream: %w", err)
		}
		f.keep(tcp)
		f.group.Go(func() { f.serveUDP(udp) })
		f.group.Go(func() { f.serveTCP(tcp) })
	}
	return f, nil
}

// stop closes all sockets and returns when nothing is on its way any more.
func (f *front) stop() {
	close(f.closing)
	f.mu.Lock()
	for c := range f.open {
		c.Close()
	}
	f.mu.Unlock()
	f.group.Wait()
}

// keep notes what is to be closed at the end; it closes at once what comes later.
func (f *front) keep(c io.Closer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.closing:
		c.Close()
	default:
		f.open[c] = true
	}
}

func (f *front) drop(c io.Closer) {
	c.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.open, c)
}

func (f *front) serveUDP(socket *net.UDPConn) {
	buffer := make([]byte, 1<<16)
	for {
		n, from, err := socket.ReadFromUDPAddrPort(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // what an ICMP message about an earlier reply leaves
		}
		question := append([]byte(nil), buffer[:n]...)
		f.group.Go(func() {
			f.act(question, from.Addr(), false, func(reply []byte) error {
				_, err := socket.WriteToUDPAddrPort(reply, from)
				return err
			}, func() {})
		})
	}
}

func (f *front) serveTCP(listener *net.TCPListener) {
	for {
		conn, err := listener.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		f.keep(conn)
		f.group.Go(func() {
			defer f.drop(conn)
			f.serveConn(conn)
		})
	}
}

// serveConn answers what comes over one connection, each question as soon as its answer is there.
func (f *front) serveConn(conn *net.TCPConn) {
	var write sync.Mutex
	var group sync.WaitGroup
	defer group.Wait()
	for {
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		question := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, question); err != nil {
			return
		}
		group.Go(func() {
			f.act(question, conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr(), true, func(reply []byte) error {
				write.Lock()
				defer write.Unlock()
				_, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
				return err
			}, func() {
				conn.SetLinger(0) // so that closing is a reset
				conn.Close()
			})
		})
	}
}

// act answers a question as its name wants it answered. Nobody is told where no answer can be sent: that is the client's
// to notice.
func (f *front) act(question []byte, client netip.Addr, tcp bool, send func([]byte) error, reset func()) {
	how := behaviour(question)
	if how == "reset" && tcp {
		reset()
		return
	}
	if how == "silent" {
		return
	}
	reply, err := f.ask(question, tcp)
	if err != nil {
		return
	}
	f.note(client, reply)
	for _, step := range script(how, tcp, question, reply) {
		if step.after > 0 && !f.pause(step.after) {
			return
		}
		if err := send(step.message); err != nil {
			return
		}
	}
}

// note keeps a reply that a client is sent.
func (f *front) note(client netip.Addr, reply []byte) {
	name, end, err := dns.UnpackDomainName(reply, 12)
	if err != nil || end+2 > len(reply) {
		return
	}
	key := asked{client.Unmap(), strings.ToLower(name), binary.BigEndian.Uint16(reply[end:])}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.ContainsFunc(f.told[key], func(before []byte) bool { return bytes.Equal(before[2:], reply[2:]) }) {
		f.told[key] = append(f.told[key], reply)
	}
}

// pause waits, and reports whether the front goes on.
func (f *front) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-f.closing:
		return false
	}
}

// ask asks the resolver the very same bytes over the same transport.
func (f *front) ask(question []byte, tcp bool) ([]byte, error) {
	conn, _ := f.conns.Get().(*ask.Conn)
	if conn == nil {
		var err error
		if conn, err = ask.Dial(f.resolver); err != nil {
			return nil, err
		}
	}
	defer f.conns.Put(conn)
	if tcp {
		return conn.TCP(question)
	}
	return conn.UDP(question)
}
