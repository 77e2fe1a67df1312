package upstream

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/plugintest"
)

// transport answers HTTP requests by itself.
type transport func(*http.Request) *http.Response

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }

// FuzzHTTPS: whatever an HTTP server answers, who asked is told once, and of a reply only if it is one: of status 200, of
// the right type, not too long, and to the question. What is no reply is an error that says where it came from.
func FuzzHTTPS(f *testing.F) {
	question := plugintest.Ask(f, "www.example.", dns.TypeA)
	asked := NewQuestion(question, false)
	reply := edit(asked.Message(), right)
	for _, body := range [][]byte{
		reply, nil, {0}, asked.Message(), reply[:len(reply)-1], append(bytes.Clone(reply), 0), []byte("<html>no</html>"),
		edit(asked.Message(), func(m *dns.Msg) { m.Id = 1 }),
		edit(asked.Message(), func(m *dns.Msg) { m.Question[0].Name = "other.example." }),
		edit(asked.Message(), func(m *dns.Msg) { m.Answer, m.Rcode = nil, dns.RcodeNameError }),
		append(bytes.Clone(reply), make([]byte, message.MaxLen)...),
	} {
		f.Add(http.StatusOK, httpsType, body)
	}
	f.Add(http.StatusBadGateway, httpsType, reply)
	f.Add(http.StatusNoContent, httpsType, []byte{})
	f.Add(http.StatusOK, "text/plain", reply)
	f.Add(http.StatusOK, "", reply)
	f.Add(http.StatusOK, httpsType+"; charset=utf-8", reply)

	s := New(Config{Addr: netip.MustParseAddrPort("192.0.2.1:443"), Protocol: HTTPS, TLS: &tls.Config{}})
	f.Cleanup(s.Close)
	f.Fuzz(func(t *testing.T, status int, contentType string, body []byte) {
		s.client.Transport = transport(func(r *http.Request) *http.Response {
			return &http.Response{
				StatusCode: status, Status: http.StatusText(status), Request: r,
				Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(bytes.NewReader(body)),
			}
		})
		wrong := testutil.ToFloat64(s.metrics.wrong)
		a := newAsker()
		s.fetch(asked, a)
		if len(a) != 1 {
			t.Fatalf("told %d times", len(a))
		}
		o := <-a
		wrong = testutil.ToFloat64(s.metrics.wrong) - wrong
		carried := status == http.StatusOK && contentType == httpsType && len(body) <= message.MaxLen
		switch {
		case o.err != nil:
			if !strings.Contains(o.err.Error(), "https://192.0.2.1:443") {
				t.Errorf("the error says not where: %v", o.err)
			}
			if carried != (wrong == 1) {
				t.Errorf("%v wrong replies counted: %v", wrong, o.err)
			}
		case !carried || wrong != 0:
			t.Errorf("status %d, type %q, %d bytes: told %d bytes", status, contentType, len(body), o.reply.Size())
		default:
			checkReply(t, question, o.reply, body)
		}
	})
}

// checkReply wants what was taken of a body to be a message, to the question, with the body's response code.
func checkReply(t *testing.T, q *message.Query, reply *message.Packed, body []byte) {
	t.Helper()
	r := plugintest.Begin(q)
	if !r.Take(reply) {
		t.Fatal("not taken")
	}
	m := new(dns.Msg)
	if err := m.Unpack(r.Finish()); err != nil {
		t.Fatalf("what came of %x is no message: %v", body, err)
	}
	if m.Question[0].Name != "www.example." || m.Question[0].Qtype != dns.TypeA || !m.Response || m.Rcode != int(body[3]&0xF) {
		t.Errorf("of %x came\n%v", body, m)
	}
}
