package upstream

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/waypost/waypost/message"
)

// DNS over HTTPS (RFC 8484): one request for each question, over HTTP/2 where the server has it.

const (
	httpsPath = "/dns-query"
	httpsType = "application/dns-message"
)

// httpClient makes the client with its own connections. It follows no redirect: the server is the one that was named.
func (s *Server) httpClient() *http.Client {
	dialer := s.dialer()
	return &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, network, s.name)
			},
			TLSClientConfig:     s.config.TLS,
			TLSHandshakeTimeout: s.config.Dial,
			ForceAttemptHTTP2:   true,
			IdleConnTimeout:     max(s.config.Expire, time.Millisecond), // 0 would be without a limit
			MaxIdleConnsPerHost: cmp.Or(s.config.MaxIdle, maxStreams),
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// fetch asks a question and waits for the reply.
func (s *Server) fetch(q *Question, a Asker) {
	ctx, cancel := context.WithTimeout(context.Background(), s.config.Dial+s.config.Read)
	defer cancel()
	p := newPending(q, a, time.Now()) // with ID 0, which HTTP caches want (RFC 8484 section 4.1)
	packet, err := s.roundTrip(ctx, p.packet)
	if err != nil {
		a.Answered(nil, err)
		return
	}
	reply, err := new(message.Packer).Pack(packet, p.question(), p.sorted)
	if err != nil {
		s.metrics.wrong.Inc()
		a.Answered(nil, fmt.Errorf("reply of https://%s: %w", s.name, err))
		return
	}
	s.answered(p, reply, time.Now())
}

// roundTrip sends a message and returns the body of the response.
func (s *Server) roundTrip(ctx context.Context, m []byte) ([]byte, error) {
	request, err := s.request(ctx, m)
	if err != nil {
		return nil, err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s of https://%s: %s", request.Method, s.name, response.Status)
	}
	if t := response.Header.Get("Content-Type"); t != httpsType {
		return nil, fmt.Errorf("%s of https://%s: content type %q, not %s", request.Method, s.name, t, httpsType)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, message.MaxLen+1))
	if err == nil && len(body) > message.MaxLen {
		err = fmt.Errorf("%s of https://%s: a reply of more than %d bytes", request.Method, s.name, message.MaxLen)
	}
	return body, err
}

func (s *Server) request(ctx context.Context, m []byte) (*http.Request, error) {
	address := netip.AddrPortFrom(s.config.Addr.Addr().WithZone(""), s.config.Addr.Port()).String()
	url := "https://" + address + httpsPath
	var body io.Reader
	if s.config.Method == http.MethodGet {
		url += "?dns=" + base64.RawURLEncoding.EncodeToString(m)
	} else {
		body = bytes.NewReader(m)
	}
	request, err := http.NewRequestWithContext(ctx, s.config.Method, url, body)
	if err != nil {
		return nil, err
	}
	request.Host = cmp.Or(s.config.ServerName, address)
	request.Header.Set("Accept", httpsType)
	if body != nil {
		request.Header.Set("Content-Type", httpsType)
	}
	return request, nil
}
