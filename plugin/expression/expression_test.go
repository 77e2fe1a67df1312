package expression_test

import (
	"fmt"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/expression"
	"github.com/waypost/waypost/plugin/plugintest"
)

func TestRun(t *testing.T) {
	request := new(dns.Msg).SetQuestion("WWW.example.org.", dns.TypeAAAA).SetEdns0(1400, true)
	request.Id = 17
	over := plugintest.Query(t, request)
	over.Transport = message.TCP
	tests := []struct {
		text string
		q    *message.Query
		want string
	}{
		{"type()", plugintest.Query(t, request), "AAAA"},
		{"name()", plugintest.Query(t, request), "www.example.org."},
		{"class()", plugintest.Query(t, request), "IN"},
		{"proto()", plugintest.Query(t, request), "udp"},
		{"proto()", over, "tcp"},
		{"size()", plugintest.Query(t, request), "44"},
		{"client_ip()", plugintest.Query(t, request), "192.0.2.7"},
		{"port()", plugintest.Query(t, request), "40212"},
		{"id() + opcode()", plugintest.Query(t, request), "17"},
		{"do()", plugintest.Query(t, request), "true"},
		{"bufsize()", plugintest.Query(t, request), "1400"},
		{"bufsize()", plugintest.Ask(t, ".", dns.TypeA), "512"},
		{"bufsize()", over, "65535"},
		{"server_ip() + '#' + server_port()", plugintest.Query(t, request), "192.0.2.53#53"},
		{"metadata('a/b')", plugintest.Query(t, request), ""},
		{"incidr(client_ip(), '192.0.2.9/24')", plugintest.Query(t, request), "true"},
		{"incidr(client_ip(), '192.0.2.8/29')", plugintest.Query(t, request), "false"},
		{"incidr(client_ip(), '::ffff:192.0.2.0/120')", plugintest.Query(t, request), "true"},
		{"incidr('::ffff:192.0.2.7', '192.0.2.0/024')", plugintest.Query(t, request), "true"},
		{"incidr('2001:db8::7', '2001:db8::/32')", plugintest.Query(t, request), "true"},
		{"incidr('fe80::1%eth0', 'fe80::/10')", plugintest.Query(t, request), "error"},
		{"incidr('x', '192.0.2.8/29')", plugintest.Query(t, request), "error"},
		{"incidr(client_ip(), '192.0.2.8')", plugintest.Query(t, request), "error"},
		{"name() in ['www.example.org.'] && type() startsWith 'A'", plugintest.Query(t, request), "true"},
	}
	for _, tt := range tests {
		program, err := expression.Compile(tt.text, expression.NewEnv(nil))
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		value, err := expression.Run(program, expression.NewEnv(tt.q))
		got := fmt.Sprint(value)
		if err != nil {
			got = "error"
		}
		if got != tt.want {
			t.Errorf("%s: got %s, %v, want %s", tt.text, got, err, tt.want)
		}
	}
}

func TestCompileErrors(t *testing.T) {
	for _, text := range []string{"", "nosuch()", "size() + 'a'", "name(", "type(1)"} {
		if _, err := expression.Compile(text, expression.NewEnv(nil)); err == nil {
			t.Errorf("%q compiles", text)
		}
	}
}

func TestDeclare(t *testing.T) {
	env := expression.NewEnv(nil)
	program, err := expression.Compile("size() * 2", env)
	if err != nil {
		t.Fatal(err)
	}
	env.Declare("twice", program)
	if _, err := expression.Compile("twice + 'a'", env); err == nil {
		t.Error("a number and a text are added up")
	}
	if _, err := expression.Compile("twice + 1", env); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]bool{"thrice": true, "twice": false, "name": false, "len": false, "true": false, "a b": false, "a.b": false, "nil": false, " x": false} {
		if got := env.Free(name); got != want {
			t.Errorf("%q free: %t", name, got)
		}
	}
}
