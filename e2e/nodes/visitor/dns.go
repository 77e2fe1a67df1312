package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"time"

	"github.com/miekg/dns"
)

// patience is how long a client waits for an answer, and asks once only: as dnsperf, and as resolvers do for one try.
const patience = 5 * time.Second

// runDNS asks for the A records of names, one after the other, of which each is expected to have some.
func runDNS(ctx context.Context, args []string) error {
	set := flag.NewFlagSet("visitor dns", flag.ContinueOnError)
	server := set.String("server", "", "`ADDRESS:PORT` of the server")
	rate := set.Int("rate", 100, "questions a second")
	sockets := set.Int("sockets", 0, "sockets that questions are sent from in turn; 0 is a new one for each question")
	network := set.String("network", "udp", "or tcp: a new connection for each question")
	if err := set.Parse(args); err != nil {
		return err
	}
	if set.NArg() == 0 {
		return fmt.Errorf("dns takes names")
	}
	t := &tally{}
	if err := t.serve(ctx); err != nil {
		return err
	}
	var kept []*socket
	for range *sockets {
		s, err := newSocket(*server)
		if err != nil {
			return err
		}
		kept = append(kept, s)
	}
	t.load(ctx, *rate, func(number int) error {
		question := new(dns.Msg).SetQuestion(dns.Fqdn(set.Arg(number%set.NArg())), dns.TypeA)
		if len(kept) > 0 {
			return kept[number%len(kept)].ask(question)
		}
		client := dns.Client{Net: *network, Timeout: patience}
		answer, _, err := client.Exchange(question, *server)
		if err != nil {
			return err
		}
		return judge(answer)
	})
	return nil
}

// judge says what is wrong with an answer.
func judge(answer *dns.Msg) error {
	switch name := answer.Question[0].Name; {
	case answer.Rcode != dns.RcodeSuccess:
		return fmt.Errorf("%s for %s", dns.RcodeToString[answer.Rcode], name)
	case len(answer.Answer) == 0:
		return fmt.Errorf("no address for %s", name)
	}
	return nil
}

// socket has one source port for many questions at once.
type socket struct {
	conn    net.Conn
	waiting *waiting
}

func newSocket(server string) (*socket, error) {
	conn, err := net.Dial("udp", server)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", server, err)
	}
	s := &socket{conn, newWaiting()}
	go s.receive()
	return s, nil
}

// receive hands answers to who waits for them. What cannot be received is an answer that nobody gets: it is counted there.
func (s *socket) receive() {
	buffer := make([]byte, 1<<16)
	for {
		n, err := s.conn.Read(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		answer := new(dns.Msg)
		if err == nil && answer.Unpack(buffer[:n]) == nil {
			s.waiting.deliver(answer)
		}
	}
}

func (s *socket) ask(question *dns.Msg) error {
	answered := s.waiting.add(question)
	defer s.waiting.remove(question)
	wire, err := question.Pack()
	if err != nil {
		return fmt.Errorf("pack a question: %w", err)
	}
	if _, err := s.conn.Write(wire); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case answer := <-answered:
		return judge(answer)
	case <-timeout.C:
		return fmt.Errorf("no answer from port %v", s.conn.LocalAddr().(*net.UDPAddr).Port)
	}
}
