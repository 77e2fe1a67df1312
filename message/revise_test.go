package message_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
)

// changed is a query for A records of "Client.Example." whose question a step has changed to AAAA of "other.".
func changed(t testing.TB, size uint16) *message.Query {
	t.Helper()
	request := new(dns.Msg).SetQuestion("Client.Example.", dns.TypeA)
	if size != 0 {
		request.SetEdns0(size, true)
	}
	packet, err := request.Pack()
	if err != nil {
		t.Fatal(err)
	}
	q := &message.Query{From: netip.MustParseAddrPort("192.0.2.1:53")}
	q.Parse(packet)
	q.Change()
	clear(packet)
	q.Change() // what came first is what counts
	q.Rename([]byte("\x05other\x00"))
	q.Type = message.TypeAAAA
	return q
}

// brief is a message in a few words.
func brief(t testing.TB, wire []byte) string {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	words := []string{m.Question[0].Name, dns.Type(m.Question[0].Qtype).String()}
	if o := m.IsEdns0(); o != nil {
		words = append(words, fmt.Sprintf("opt=%d/%d", o.UDPSize(), len(o.Option)))
	}
	if m.Truncated {
		words = append(words, "tc")
	}
	for _, rr := range m.Answer {
		words = append(words, strings.ReplaceAll(rr.String(), "\t", " "))
	}
	return strings.Join(words, " ")
}

func TestRestart(t *testing.T) {
	q := changed(t, 1400)
	if first := q.First(); first == q || string(first.Name()) != "\x06Client\x07Example\x00" || first.Type != message.TypeA {
		t.Errorf("the first question is %q", q.First().Name())
	}
	var r message.Reply
	r.Begin(q.First(), nil)
	r.Shuffle = true
	r.Option(message.OptionNSID, []byte("me"))
	r.Restart(q)
	r.Addresses(message.Answer, message.QuestionAt, message.AppendAddress(nil, make([]byte, 16), 5))
	r.Err = fmt.Errorf("trouble")
	if got, want := brief(t, r.Wire()), "other. AAAA other. 5 IN AAAA ::"; got != want {
		t.Errorf("in between: %s", got)
	}
	var moved message.Reply
	moved.Move(&r, q)
	r.Restart(q.First())
	if r.Err == nil || !r.Shuffle {
		t.Error("the error or the order is lost")
	}
	if got, want := brief(t, r.Finish()), "Client.Example. A opt=1232/1"; got != want {
		t.Errorf("at the end: %s, want %s", got, want)
	}
	if got, want := brief(t, moved.Finish()), "other. AAAA opt=1232/1 other. 5 IN AAAA ::"; got != want {
		t.Errorf("moved: %s, want %s", got, want)
	}
}

// TestRestartWithoutOPT checks that a client without OPT gets none, though the query that was made of its own had one.
func TestRestartWithoutOPT(t *testing.T) {
	q := changed(t, 0)
	q.EDNS = message.EDNS{Present: true, UDPSize: 4096}
	var r message.Reply
	r.Begin(q, nil)
	r.Option(message.OptionNSID, []byte("me"))
	if got, want := brief(t, r.Finish()), "other. AAAA opt=1232/1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	r.Restart(q.First())
	if got, want := brief(t, r.Finish()), "Client.Example. A"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAnnounce(t *testing.T) {
	q := changed(t, 4096)
	var r message.Reply
	r.Begin(q, nil)
	r.Option(message.OptionNSID, []byte("me"))
	q.EDNS.UDPSize = 600
	r.Announce(q, 700)
	for range 100 {
		r.Addresses(message.Answer, message.QuestionAt, message.AppendAddress(nil, make([]byte, 16), 5))
	}
	got := r.Finish()
	if want := 600 - 28; len(got) > 600 || len(got) <= want {
		t.Errorf("%d bytes", len(got))
	}
	if text := brief(t, got); !strings.HasPrefix(text, "other. AAAA opt=700/1 tc other.") {
		t.Errorf("got %s", text)
	}
	r.Reset()
	if text := brief(t, r.Finish()); text != "other. AAAA opt=700/1" {
		t.Errorf("after Reset: %s", text)
	}
	r.Begin(q, nil)
	if text := brief(t, r.Finish()); text != "other. AAAA opt=1232/0" {
		t.Errorf("after Begin: %s", text)
	}
}

// TestClass checks that records are of the question's class.
func TestClass(t *testing.T) {
	q := changed(t, 0)
	q.Class, q.Type = message.ClassCH, message.TypeTXT
	var r message.Reply
	r.Begin(q, nil)
	r.Record(message.Answer, message.QuestionAt, message.TypeTXT, 0)
	r.Uint8(1)
	r.String("x")
	r.End()
	if got, want := brief(t, r.Finish()), `other. TXT other. 0 CH TXT "x"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
