package bind_test

import (
	"fmt"
	"net"
	"slices"
	"testing"

	"github.com/waypost/waypost/plugin/bind"
	"github.com/waypost/waypost/plugin/plugintest"
)

func TestErrors(t *testing.T) {
	tests := []struct{ lines, want string }{
		{"bind", "Corefile:2 - Error during parsing: at least one address or interface name is expected"},
		{"bind 127.0.0.1 {\nexcept\n}", "Corefile:3 - Error during parsing: at least one address or interface must be given to except subdirective"},
		{"bind 127.0.0.1 {\nx\n}", "Corefile:3 - Error during parsing: invalid option \"x\""},
		{"bind 127.0.0.1\nbind nosuchdevice0", "Corefile:3 - Error during parsing: not a valid IP address or interface name: \"nosuchdevice0\""},
		{"bind 127.0.0.1:53", "Corefile:2 - Error during parsing: not a valid IP address or interface name: \"127.0.0.1:53\""},
		{"bind 127.0.0.1 {\nexcept nosuchdevice0\n}", "Corefile:2 - Error during parsing: not a valid IP address or interface name: \"nosuchdevice0\""},
	}
	for _, tt := range tests {
		o, err := bind.Parse(plugintest.Directive(t, tt.lines))
		if err == nil {
			_, err = o.Resolve()
		}
		if fmt.Sprint(err) != tt.want {
			t.Errorf("%q:\ngot  %v\nwant %s", tt.lines, err, tt.want)
		}
	}
}

func TestResolve(t *testing.T) {
	loopback := loopbackName(t)
	own := resolve(t, "bind "+loopback)
	if !slices.Contains(own, "127.0.0.1") {
		t.Fatalf("%s has %v", loopback, own)
	}
	others := slices.DeleteFunc(slices.Clone(own), func(a string) bool { return a == "127.0.0.1" })
	tests := []struct {
		lines string
		want  []string
	}{
		{"bind 127.0.0.1 ::1", []string{"127.0.0.1", "::1"}},
		{"bind 169.254.20.10\nbind 10.96.0.10", []string{"169.254.20.10", "10.96.0.10"}},
		{"bind " + loopback + " 192.0.2.1", append(slices.Clone(own), "192.0.2.1")},
		{"bind " + loopback + " {\nexcept 127.0.0.1\n}", others},
		{"bind " + loopback + " {\nexcept " + loopback + "\n}\nbind 192.0.2.1", []string{"192.0.2.1"}},
		{"bind 127.0.0.1 192.0.2.1 {\nexcept 127.0.0.1\nexcept 192.0.2.1\n}", []string{"127.0.0.1"}},
	}
	for _, tt := range tests {
		if got := resolve(t, tt.lines); !slices.Equal(got, tt.want) {
			t.Errorf("%q: got %v, want %v", tt.lines, got, tt.want)
		}
	}
}

func resolve(t *testing.T, lines string) []string {
	t.Helper()
	o, err := bind.Parse(plugintest.Directive(t, lines))
	if err != nil {
		t.Fatal(err)
	}
	addresses, err := o.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	return addresses
}

func loopbackName(t *testing.T) string {
	t.Helper()
	devices, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range devices {
		if d.Flags&net.FlagLoopback != 0 {
			return d.Name
		}
	}
	t.Fatal("this host has no loopback interface")
	return ""
}
