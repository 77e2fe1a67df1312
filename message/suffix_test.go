package message_test

import (
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
)

// TestNameUnder writes CNAME records one below the other, each target shortened by what it shares with the one before.
func TestNameUnder(t *testing.T) {
	for _, test := range []struct {
		names []string // the question, then the targets
		sizes []int    // of the targets, in bytes
	}{
		{[]string{"a.prod.svc.cluster.local.", "b.prod.svc.cluster.local.", "c.dev.svc.cluster.local."}, []int{4, 8}},
		{[]string{"a.prod.svc.cluster.local.", "prod.svc.cluster.local.", "cluster.local.", "x.cluster.local."}, []int{2, 2, 4}},
		{[]string{"a.Cluster.local.", "b.cluster.local."}, []int{2 + 8 + 2}},
		{[]string{"a.local.", "www.example.com.", "."}, []int{17, 1}},
		{[]string{".", "a.b."}, []int{5}},
		{[]string{"b.a.b.", "a.b.", "x.a.b.", "b."}, []int{2, 4, 2}},
	} {
		request, err := new(dns.Msg).SetQuestion(test.names[0], dns.TypeA).Pack()
		if err != nil {
			t.Fatal(err)
		}
		var q message.Query
		if q.Parse(request) != message.Accepted {
			t.Fatalf("%v: not accepted", test.names)
		}
		var r message.Reply
		r.Begin(&q, nil)
		owner := message.QuestionAt
		for i, name := range test.names[1:] {
			wire, err := message.PackName(name)
			if err != nil {
				t.Fatal(err)
			}
			r.Record(message.Answer, owner, message.TypeCNAME, 30)
			at := r.At()
			r.NameUnder(wire, owner)
			if got := r.At() - at; got != test.sizes[i] {
				t.Errorf("%v: %s takes %d bytes, want %d", test.names, name, got, test.sizes[i])
			}
			r.End()
			owner = at
		}
		var m dns.Msg
		if err := m.Unpack(r.Finish()); err != nil {
			t.Fatalf("%v: %v", test.names, err)
		}
		for i, rr := range m.Answer {
			if got, want := rr.Header().Name+" "+rr.(*dns.CNAME).Target, test.names[i]+" "+test.names[i+1]; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	}
}
