package grpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/upstream"
)

// method is the only one of the service.
const method = "/coredns.dns.DnsService/Query"

// maxPause is how long a server that cannot be reached is left alone at most before the next attempt to connect.
const maxPause = 5 * time.Second

// server is one of those that questions are passed on to.
type server struct {
	name    string // as metrics and messages have it: "10.0.0.1:53", "unix:///run/dns.sock"
	conn    *grpc.ClientConn
	metrics *metrics
	suspect atomic.Bool
}

// answer is what came of a question.
type answer struct {
	reply *message.Packed // nil where the response code is all there is
	rcode message.Rcode   // to give to who asked
	said  message.Rcode   // of the server's message
	err   error
}

// newServer makes the connection to a server, which opens itself for the first question. config is nil for one without TLS.
func newServer(name string, config *tls.Config, m *metrics) (*server, error) {
	target := strings.ReplaceAll(name, "%", "%25") // of an IPv6 zone: it is read as a URL
	if !strings.HasPrefix(name, unix) {
		target = "dns:///" + target
	}
	secrets := insecure.NewCredentials()
	if config != nil {
		secrets = credentials.NewTLS(config)
	}
	pause := backoff.DefaultConfig
	pause.MaxDelay = maxPause
	conn, err := grpc.NewClient(target,
		grpc.WithTransportCredentials(secrets),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: pause, MinConnectTimeout: patience}),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(packets{}), grpc.MaxCallRecvMsgSize(message.MaxLen+packetHead)),
	)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", name, err)
	}
	return &server{name: name, conn: conn, metrics: m}, nil
}

// close ends the connection. The error is that it was closed before.
func (s *server) close() { _ = s.conn.Close() }

// Suspect implements relay.Server.
func (s *server) Suspect() bool { return s.suspect.Load() }

// ask asks a question and waits for what the server says, no longer than most.
func (s *server) ask(ctx context.Context, q *upstream.Question, most time.Duration) answer {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	start := time.Now()
	var reply []byte
	err := s.conn.Invoke(ctx, method, q.Message(), &reply)
	a := answer{err: err}
	switch {
	case status.Code(err) == codes.NotFound: // as CoreDNS has it
		a = answer{rcode: message.NXDomain}
	case err == nil:
		if a = read(q, reply); a.err != nil {
			a.err = fmt.Errorf("reply of grpc://%s: %w", s.name, a.err)
			break
		}
		s.metrics.replied(s.name, a.said, time.Since(start))
	}
	s.suspect.Store(a.err != nil)
	return a
}

// read reads a reply. One to another question is FORMERR, as CoreDNS has it: over a connection nobody else sends, and there
// will be no other.
func read(q *upstream.Question, packet []byte) answer {
	reply, err := q.Read(packet)
	switch {
	case err == nil:
		return answer{reply: reply, rcode: reply.Rcode, said: reply.Rcode}
	case !errors.Is(err, message.ErrOtherQuestion):
		return answer{err: err}
	}
	var other dns.Msg
	if err := other.Unpack(packet); err != nil {
		return answer{err: err}
	}
	return answer{rcode: message.FormErr, said: message.Rcode(other.Rcode)}
}
