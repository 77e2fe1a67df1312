package relay

import (
	"fmt"
	"testing"
)

func TestParseResolvConf(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", "[]"},
		{"nameserver 10.0.0.1\nnameserver 10.0.0.2\n", "[10.0.0.1:53 10.0.0.2:53]"},
		{"  nameserver\t10.0.0.1  # comment\r\n", "[10.0.0.1:53]"},
		{"nameserver 10.0.0.1", "[10.0.0.1:53]"},
		{"nameserver fe80::1%eth0\nnameserver ::1", "[[fe80::1%eth0]:53 [::1]:53]"},
		{"search a.example\noptions ndots:5\nnameserver\nnameserver x\n#nameserver 10.0.0.1\n;nameserver 10.0.0.1\nNameserver 10.0.0.1", "[]"},
	} {
		if got := fmt.Sprint(parseResolvConf([]byte(tt.text))); got != tt.want {
			t.Errorf("%q: got %s, want %s", tt.text, got, tt.want)
		}
	}
}

func FuzzResolvConf(f *testing.F) {
	f.Add([]byte("nameserver 10.0.0.1\noptions ndots:5\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, server := range parseResolvConf(text) {
			if !server.IsValid() || server.Port() != 53 {
				t.Errorf("server %v", server)
			}
		}
	})
}
