// Package plugintest makes what the tests of a directive start from: a directive out of a Corefile, a question, a reply,
// an environment whose lines can be read.
package plugintest

import (
	"bytes"
	"net/netip"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/env"
)

// Block parses a Corefile and returns its only server block.
func Block(t testing.TB, corefile string) *config.Block {
	t.Helper()
	file, err := config.Parse("Corefile", []byte(corefile), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(file.Blocks) != 1 {
		t.Fatalf("%d server blocks in %q", len(file.Blocks), corefile)
	}
	return &file.Blocks[0]
}

// Directive parses lines of one directive, which stand in the file "Corefile" from line 2 on.
func Directive(t testing.TB, lines string) *config.Directive {
	t.Helper()
	block := Block(t, ".:53 {\n"+lines+"\n}\n")
	if len(block.Directives) != 1 {
		t.Fatalf("%d directives in %q", len(block.Directives), lines)
	}
	return &block.Directives[0]
}

// Output is what a journal printed.
type Output struct {
	journal *journal.Journal
	mu      sync.Mutex
	printed bytes.Buffer
}

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.printed.Write(p)
}

// Take returns what was printed since it was asked last.
func (o *Output) Take() string {
	o.journal.Flush()
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.printed.Reset()
	return o.printed.String()
}

// Env makes an environment for the directive called name, with a registry of its own.
func Env(t testing.TB, name string, format journal.Format) (env.Env, *Output) {
	t.Helper()
	out := &Output{}
	j := journal.New(out, format)
	t.Cleanup(j.Close)
	out.journal = j
	return env.Env{
		Log: j.Logger(name), Journal: j, Metrics: prometheus.NewPedanticRegistry(), Shards: 4,
		Version: "1.2.3", Commit: "abcdef0",
	}, out
}

// Query parses a request made by miekg/dns, as if 192.0.2.7:40212 had sent it over UDP to 192.0.2.53:53.
func Query(t testing.TB, request *dns.Msg) *message.Query {
	t.Helper()
	packet, err := request.Pack()
	if err != nil {
		t.Fatalf("pack %v: %v", request, err)
	}
	q := &message.Query{From: netip.MustParseAddrPort("192.0.2.7:40212"), Local: netip.MustParseAddrPort("192.0.2.53:53")}
	if status := q.Parse(packet); status != message.Accepted {
		t.Fatalf("status %d of %v", status, request)
	}
	return q
}

// Ask is Query for a plain question: recursion desired, ID 17085, no EDNS.
func Ask(t testing.TB, name string, typ uint16) *message.Query {
	t.Helper()
	request := new(dns.Msg).SetQuestion(name, typ)
	request.Id = 17085
	return Query(t, request)
}

// Begin starts a reply to q.
func Begin(q *message.Query) *message.Reply {
	var r message.Reply
	r.Begin(q, nil)
	return &r
}

// Message finishes a reply and reads it.
func Message(t testing.TB, r *message.Reply) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(r.Finish()); err != nil {
		t.Fatalf("unpack the reply: %v", err)
	}
	return m
}

// SetBack is the time that time.Now would give at t if the machine's clock had been set back by d just before: it is d
// earlier, and not before any other time that time.Now gave until t.
func SetBack(t time.Time, d time.Duration) time.Time {
	back := t.Add(-d)
	monotonic := &(*struct { // as time.Time has been since Go 1.9
		wall uint64
		ext  int64
		loc  *time.Location
	})(unsafe.Pointer(&back)).ext
	*monotonic += int64(d)
	return back
}
