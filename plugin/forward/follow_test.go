package forward

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/plugin/plugintest"
	"github.com/waypost/waypost/upstream/upstreamtest"
)

// TestHostNames: they are asked for at the start, with the named resolver.
func TestHostNames(t *testing.T) {
	resolver := upstreamtest.Start(t, func(w dns.ResponseWriter, m *dns.Msg) {
		if name := strings.ToLower(m.Question[0].Name); name != "dns.example.org." || m.Question[0].Qtype != dns.TypeA {
			upstreamtest.Rcode(dns.RcodeSuccess)(w, m)
			return
		}
		upstreamtest.Answer(t, "dns.example.org. 30 IN A 127.0.0.1", "dns.example.org. 30 IN A 127.0.0.2")(w, m)
	})
	one := server(t, "192.0.2.1")
	host := fmt.Sprintf("dns.example.org:%d", one.Addr.Port())
	b := start(t, "forward . "+host+" "+one.Addr.String()+" {\npolicy sequential\nresolver "+resolver.Addr.String()+"\n}")
	if got := b.steps[0].servers.String(); got != fmt.Sprintf("127.0.0.1:%d, 127.0.0.2:%d", one.Addr.Port(), one.Addr.Port()) {
		t.Errorf("servers %s", got)
	}
	if got := b.ask(t, "www.example."); got != "NOERROR 192.0.2.1" {
		t.Errorf("got %s", got)
	}
	all, err := Parse(plugintest.Directive(t, "forward . none.example.org {\nresolver "+resolver.Addr.String()+"\n}"))
	if err != nil {
		t.Fatal(err)
	}
	e, _ := plugintest.Env(t, "forward", journal.Text)
	f, err := New(all[0], false, e)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Start(context.Background()); err == nil || !strings.HasPrefix(err.Error(), `plugin/forward: failed to resolve "none.example.org": `) {
		t.Errorf("error %v", err)
	}
}

// TestFollowsFiles: a file that changes, in place or by being replaced, changes the servers; what is broken does not; and
// a server that stays is not begun anew.
func TestFollowsFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "resolv.conf")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("nameserver 192.0.2.1\nnameserver 192.0.2.2\n")
	b := start(t, "forward . "+path+" 192.0.2.9")
	s := &b.steps[0].servers
	kept := s.all()[1]
	expect := func(servers, line string) {
		t.Helper()
		said := ""
		upstreamtest.Eventually(t, func() bool {
			said += b.out.Take()
			return s.String() == servers && strings.Contains(said, line)
		})
	}
	expect("192.0.2.1:53, 192.0.2.2:53, 192.0.2.9:53", "")
	put("nameserver 192.0.2.2\nnameserver 192.0.2.3\n")
	expect("192.0.2.2:53, 192.0.2.3:53, 192.0.2.9:53", "[INFO] plugin/forward: "+path+" has changed: forwarding to 192.0.2.2:53, 192.0.2.3:53, 192.0.2.9:53\n")
	if s.all()[0] != kept {
		t.Error("a server that stayed was begun anew")
	}
	put("search example.org\n")
	expect("192.0.2.2:53, 192.0.2.3:53, 192.0.2.9:53", "[WARNING] plugin/forward: read the servers of "+path+": there are none; forwarding to 192.0.2.2:53, 192.0.2.3:53, 192.0.2.9:53 as before\n")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	expect("192.0.2.2:53, 192.0.2.3:53, 192.0.2.9:53", "no such file or directory; forwarding to ")
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte("nameserver 192.0.2.4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	expect("192.0.2.4:53, 192.0.2.9:53", "has changed")
	put("nameserver 192.0.2.5\n")
	expect("192.0.2.5:53, 192.0.2.9:53", "has changed")
}
