package route

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/cluster"
)

// Patience is how long a client waits for an answer that ought to come: on one machine that takes less than a millisecond,
// unless the machine has much else to do.
const Patience = 30 * time.Second

// Silence is how long a client waits until it takes nothing for an answer.
const Silence = 400 * time.Millisecond

// silenceTCP is the same for connecting over TCP. On one machine, a refusal may come back while connect is still at work,
// which does not take notice of it then, but of the next: the first packet is sent again after a second.
const silenceTCP = Silence + time.Second

// Serve answers on a port of the namespace, until the returned function is called: whoever connects, or sends a datagram, is
// told "NAME sees SOURCE", the address it came from.
func (s *Space) Serve(p cluster.Protocol, port uint16) (stop func(), err error) {
	err = s.Do(func() error {
		if p == cluster.TCP {
			stop, err = s.serveTCP(port)
		} else {
			stop, err = s.serveDatagrams(p, port)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("serve %s port %d in %s: %w", p, port, s.Name, err)
	}
	return stop, nil
}

func (s *Space) answer(client net.Addr) string {
	return s.Name + " sees " + netip.MustParseAddrPort(client.String()).Addr().Unmap().String()
}

func (s *Space) serveTCP(port uint16) (stop func(), err error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	listener, err := config.Listen(context.Background(), "tcp", net.JoinHostPort("::", strconv.Itoa(int(port))))
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go s.hold(conn)
		}
	}()
	return func() { listener.Close() }, nil
}

// hold greets a client, then gives back all it says until it leaves.
func (s *Space) hold(conn net.Conn) {
	defer conn.Close()
	if _, err := fmt.Fprintln(conn, s.answer(conn.RemoteAddr())); err != nil {
		return
	}
	buffer := make([]byte, 4096)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		if _, err := conn.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// serveDatagrams answers datagrams, or what SCTP begins with. It has a socket for each address, so that an answer leaves
// from the one that was asked.
func (s *Space) serveDatagrams(p cluster.Protocol, port uint16) (stop func(), err error) {
	var conns []net.PacketConn
	stop = func() {
		for _, c := range conns {
			c.Close()
		}
	}
	for _, text := range addresses[s.Name] {
		address := netip.MustParseAddr(text)
		network, at := "udp", netip.AddrPortFrom(address, port).String()
		if p == cluster.SCTP {
			network, at = rawSCTP(address), text
		}
		conn, err := net.ListenPacket(network, at)
		if err != nil {
			stop()
			return nil, err
		}
		conns = append(conns, conn)
		if p == cluster.SCTP {
			go s.answerSCTP(conn, port)
		} else {
			go s.answerUDP(conn)
		}
	}
	return stop, nil
}

func (s *Space) answerUDP(conn net.PacketConn) {
	buffer := make([]byte, 4096)
	for {
		_, client, err := conn.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			conn.WriteTo([]byte(s.answer(client)+"\n"), client)
		}
	}
}

// Ask connects to an address from the namespace, or sends a datagram, and returns what the server tells, as "b sees
// 10.244.1.10"; "refused" where somebody says that nobody is there, "silent" where nobody says anything for as long as the
// client's patience lasts.
func (s *Space) Ask(p cluster.Protocol, to netip.AddrPort, patience time.Duration) string {
	said := ""
	err := s.Do(func() (err error) {
		if p == cluster.SCTP {
			s.raw.Lock()
			defer s.raw.Unlock()
			said, err = askSCTP(to, patience)
			return err
		}
		conn, err := dial(p, to, patience)
		if err != nil {
			return err
		}
		defer conn.Close()
		said, err = converse(conn, p, patience)
		return err
	})
	return outcome(said, err)
}

func dial(p cluster.Protocol, to netip.AddrPort, patience time.Duration) (net.Conn, error) {
	dialer := net.Dialer{Timeout: max(patience, silenceTCP)}
	return dialer.Dial(p.String(), to.String())
}

// converse hears what the server has to say.
func converse(conn net.Conn, p cluster.Protocol, patience time.Duration) (string, error) {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if p == cluster.UDP {
		// Whoever drops or rejects a packet on its way out of this very host lets the write fail with EPERM. What the other
		// side says about it, if anything, is read.
		if _, err := conn.Write([]byte("hello\n")); err != nil && !errors.Is(err, unix.EPERM) {
			return "", err
		}
	}
	buffer := make([]byte, 4096)
	n, err := conn.Read(buffer)
	return strings.TrimSuffix(string(buffer[:n]), "\n"), err
}

func outcome(said string, err error) string {
	var timeout net.Error
	switch {
	case err == nil:
		return said
	case errors.Is(err, unix.ECONNREFUSED):
		return "refused"
	case errors.Is(err, unix.EAGAIN), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "silent"
	}
	return err.Error()
}
