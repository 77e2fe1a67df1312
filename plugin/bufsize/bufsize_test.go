package bufsize_test

import (
	"fmt"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/bufsize"
	"github.com/waypost/waypost/plugin/plugintest"
)

func TestParse(t *testing.T) {
	tests := []struct {
		lines string
		size  uint16
		err   string
	}{
		{"bufsize", 1232, ""},
		{"bufsize 512", 512, ""},
		{"bufsize 4096", 4096, ""},
		{"bufsize 1000\nbufsize x", 1000, ""},
		{"bufsize 511", 0, "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after '511'"},
		{"bufsize 4097", 0, "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after '4097'"},
		{"bufsize x", 0, "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after 'x'"},
		{"bufsize 512 513", 0, "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after '513'"},
	}
	for _, tt := range tests {
		o, err := bufsize.Parse(plugintest.Directive(t, tt.lines))
		if err != nil || tt.err != "" {
			if fmt.Sprint(err) != tt.err {
				t.Errorf("%q:\ngot  %v\nwant %s", tt.lines, err, tt.err)
			}
		} else if o.Size != tt.size {
			t.Errorf("%q: got %d, want %d", tt.lines, o.Size, tt.size)
		}
	}
}

// TestServe asks for more addresses than fit. One takes 28 bytes in AAAA, what is around them 29, and OPT 11.
func TestServe(t *testing.T) {
	tests := []struct {
		name      string
		transport message.Transport
		edns      uint16 // 0 sends no OPT
		addresses int
		announced uint16
	}{
		{"lowered", message.UDP, 4096, (1000 - 29 - 11) / 28, 1000},
		{"not raised", message.UDP, 800, (800 - 29 - 11) / 28, 1000},
		{"no EDNS", message.UDP, 0, (512 - 29) / 28, 0},
		{"TCP", message.TCP, 4096, 100, 1000},
	}
	var set []byte
	for i := range byte(100) {
		set = message.AppendAddress(set, append(make([]byte, 15), i), 5)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			request := new(dns.Msg).SetQuestion("example.org.", dns.TypeAAAA)
			if tt.edns != 0 {
				request.SetEdns0(tt.edns, false)
			}
			q := plugintest.Query(t, request)
			q.Transport = tt.transport
			r := plugintest.Begin(q)
			if v := bufsize.New(bufsize.Options{Size: 1000}).Serve(q, r); v != message.Next {
				t.Errorf("verdict %d", v)
			}
			r.Addresses(message.Answer, message.QuestionAt, set)
			m := plugintest.Message(t, r)
			if len(m.Answer) != tt.addresses || m.Truncated != (tt.addresses < 100) {
				t.Errorf("%d addresses, want %d; truncated %t", len(m.Answer), tt.addresses, m.Truncated)
			}
			if opt := m.IsEdns0(); opt != nil && opt.UDPSize() != tt.announced || (opt == nil) != (tt.edns == 0) {
				t.Errorf("announced %v, want %d", opt, tt.announced)
			}
		})
	}
}
