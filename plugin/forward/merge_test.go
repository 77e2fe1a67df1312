package forward

import (
	"net/netip"
	"testing"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/plugintest"
	"github.com/waypost/waypost/upstream/upstreamtest"
)

// TestMerge: a thousand clients that ask one slow name at once make one question, and each has its answer.
func TestMerge(t *testing.T) {
	release := make(chan struct{})
	slow := upstreamtest.Start(t, func(w dns.ResponseWriter, m *dns.Msg) {
		<-release
		upstreamtest.Answer(t, "slow.example. 30 IN A 192.0.2.1")(w, m)
	})
	b := start(t, lines(".", upstreams{slow}))
	const clients = 1000
	var waiting []*pending
	for range clients {
		waiting = append(waiting, b.send(t, plugintest.Ask(t, "slow.example.", dns.TypeA)))
	}
	close(release)
	for _, p := range waiting {
		if got := p.wait(); got != "NOERROR 192.0.2.1" {
			t.Fatalf("got %s", got)
		}
	}
	if n := slow.Requests.Count(); n != 1 {
		t.Errorf("%d questions", n)
	}
	if n := b.steps[0].flights.Len(); n != 0 {
		t.Errorf("%d flights are left", n)
	}
}

// TestNotMerged: questions that differ in what changes an answer are asked one by one.
func TestNotMerged(t *testing.T) {
	release := make(chan struct{})
	slow := upstreamtest.Start(t, func(w dns.ResponseWriter, m *dns.Msg) {
		<-release
		upstreamtest.Rcode(dns.RcodeSuccess)(w, m)
	})
	b := start(t, lines(".", upstreams{slow}))
	subnet := func(data byte) func(*dns.Msg) {
		return func(m *dns.Msg) {
			m.SetEdns0(1232, false)
			m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_LOCAL{Code: 65001, Data: []byte{data}})
		}
	}
	cookie := func(m *dns.Msg) {
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"})
	}
	different := []func(*dns.Msg){
		func(*dns.Msg) {},
		func(m *dns.Msg) { m.Question[0].Name = "wwx.example." },
		func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA },
		func(m *dns.Msg) { m.RecursionDesired = false },
		func(m *dns.Msg) { m.CheckingDisabled = true },
		func(m *dns.Msg) { m.SetEdns0(1232, false) },
		func(m *dns.Msg) { m.SetEdns0(1232, true) },
		subnet(1), subnet(2),
	}
	same := []func(*dns.Msg){
		func(m *dns.Msg) { m.Id++ },
		func(m *dns.Msg) { m.AuthenticatedData = true },
		func(m *dns.Msg) { m.Question[0].Name = "WWW.example." },
		func(m *dns.Msg) { m.SetEdns0(512, false) },
		cookie,
	}
	var waiting []*pending
	for _, edit := range append(different, same...) {
		request := new(dns.Msg).SetQuestion("www.example.", dns.TypeA)
		edit(request)
		waiting = append(waiting, b.send(t, plugintest.Query(t, request)))
	}
	close(release)
	for _, p := range waiting {
		p.wait()
	}
	if n := slow.Requests.Count(); n != len(different) {
		t.Errorf("%d questions, want %d", n, len(different))
	}
}

func TestMaxConcurrent(t *testing.T) {
	release := make(chan struct{})
	slow := upstreamtest.Start(t, func(w dns.ResponseWriter, m *dns.Msg) {
		<-release
		upstreamtest.Answer(t, "www.example. 30 IN A 192.0.2.1")(w, m)
	})
	b := start(t, lines(".", upstreams{slow}, "max_concurrent 2"))
	one, two := b.send(t, plugintest.Ask(t, "a.example.", dns.TypeA)), b.send(t, plugintest.Ask(t, "b.example.", dns.TypeA))
	if got, want := b.ask(t, "c.example."), "REFUSED: concurrent queries exceeded maximum 2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	close(release)
	for _, p := range []*pending{one, two} {
		if got := p.wait(); got != "NOERROR 192.0.2.1" {
			t.Errorf("got %s", got)
		}
	}
	for range 5 { // those that are over do not count
		if got := b.ask(t, "d.example."); got != "NOERROR 192.0.2.1" {
			t.Errorf("got %s", got)
		}
	}
	if n := testutil.ToFloat64(b.steps[0].metrics.rejected); n != 1 {
		t.Errorf("%v were counted", n)
	}
}

// BenchmarkMiss is a question on its way to a server that answers at once, and back: two datagrams each way.
func BenchmarkMiss(b *testing.B) {
	echo := upstreamtest.StartLiar(b, func(l *upstreamtest.Liar, packet []byte, from netip.AddrPort) {
		packet[2] |= 0x80 // QR
		l.Send(packet, from)
	})
	f := start(b, "forward . "+echo.Addr.String()).steps[0]
	q := plugintest.Ask(b, "www.example.", dns.TypeA)
	r, done := plugintest.Begin(q), make(chan struct{})
	resume := func(message.Verdict) { done <- struct{}{} }
	out := make([]byte, 0, message.MinUDPSize)
	b.ReportAllocs()
	for b.Loop() {
		r.Begin(q, out)
		f.Wait(q, r, resume)
		<-done
	}
}
