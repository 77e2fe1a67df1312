package server

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/message/wiretest"
)

// revision is a Revision made of a function.
type revision func(q *message.Query, r *message.Reply) message.Verdict

func (v revision) Revise(q *message.Query, r *message.Reply) message.Verdict { return v(q, r) }

// watching is a step that passes on and wants to see the reply.
func watching(v revision) step {
	return func(_ *message.Query, r *message.Reply) message.Verdict {
		r.Revisions = append(r.Revisions, v)
		return message.Next
	}
}

// renaming is a step that asks for another name. The reply gives the asked name a CNAME in place of the records.
func renaming(t testing.TB, to string) step {
	return func(q *message.Query, r *message.Reply) message.Verdict {
		q.Change()
		q.Rename([]byte(name(t, to)))
		r.Restart(q)
		r.Revisions = append(r.Revisions, revision(func(q *message.Query, r *message.Reply) message.Verdict {
			rcode, answers := r.Rcode, r.Count(message.Answer)
			r.Restart(q.First())
			if r.Rcode, r.By = rcode, "renaming"; answers > 0 {
				r.Record(message.Answer, message.QuestionAt, message.TypeCNAME, uint32(answers))
				r.Bytes(q.Name())
				r.End()
			}
			return message.Done
		}))
		return message.Next
	}
}

// trying is a step that asks for the names one after the other until one of them has an answer.
func trying(t testing.TB, names ...string) step {
	return func(q *message.Query, r *message.Reply) message.Verdict {
		q.Change()
		next := 0
		try := func(q *message.Query, r *message.Reply) message.Verdict {
			if r.Count(message.Answer) > 0 || next == len(names) {
				return message.Done
			}
			q.Rename([]byte(name(t, names[next])))
			next++
			r.Restart(q)
			return message.Next
		}
		r.Revisions = append(r.Revisions, revision(try))
		return try(q, r)
	}
}

// only lets a step have the names below a zone.
func only(t testing.TB, zone string, s step) step {
	z := name(t, zone)
	return func(q *message.Query, r *message.Reply) message.Verdict {
		if !q.Under(z) {
			return message.Next
		}
		return s(q, r)
	}
}

// parkOnce is a step that has to wait, and then passes on.
func parkOnce(q *message.Query, _ *message.Reply) message.Verdict {
	if !q.MayBlock {
		return message.Park
	}
	return message.Next
}

// note is a step that writes down how often and for what it was asked.
func note(to *[]string) step {
	return func(q *message.Query, _ *message.Reply) message.Verdict {
		*to = append(*to, string(message.AppendName(nil, q.Lower())))
		return message.Next
	}
}

func TestRevise(t *testing.T) {
	var asked []string
	seen := new(journal)
	mark := func(text string) step {
		return watching(func(_ *message.Query, r *message.Reply) message.Verdict {
			r.By += " " + text
			return message.Done
		})
	}
	slowly := watching(func(q *message.Query, r *message.Reply) message.Verdict {
		if !q.MayBlock {
			return message.Park
		}
		r.By += fmt.Sprintf(" slowly %d", r.Count(message.Answer))
		return message.Done
	})
	waiting := step(parkOnce)
	for _, tt := range []struct {
		name  string
		steps []Step
		want  string
		asked string
		seen  string
	}{
		{"the last that asked is the first to see", []Step{mark("outer"), passing, mark("inner"), answering(1), mark("never")},
			"NOERROR aa opt=1232 A.Client. 5 IN A 192.0.2.1", "", "a.client. 0 by answering inner outer"},
		{"nobody answers", []Step{mark("outer")},
			"SERVFAIL opt=1232", "", "a.client. 2 by  outer: plugin/last: no next plugin found"},
		{"an error code", []Step{mark("outer"), giving(message.Refused, "", errors.New("no"))},
			"REFUSED opt=1232", "", "a.client. 5 by  outer: no"},
		{"another question", []Step{renaming(t, "other."), note(&asked), answering(1)},
			"NOERROR opt=1232 A.Client. 1 IN CNAME other.", "other.", "other. 0 by renaming"},
		{"another question again", []Step{renaming(t, "one."), renaming(t, "two."), note(&asked), answering(1)},
			"NOERROR opt=1232 A.Client. 1 IN CNAME two.", "two.", "two. 0 by renaming"},
		{"another question that waits", []Step{note(&asked), renaming(t, "other."), waiting, note(&asked), answering(1)},
			"NOERROR opt=1232 A.Client. 1 IN CNAME other.", "a.client. other.", "other. 0 by renaming"},
		{"another question that nobody answers", []Step{renaming(t, "other.")},
			"SERVFAIL opt=1232", "", "other. 2 by renaming: plugin/last: no next plugin found"},
		{"one question after the other", []Step{note(&asked), trying(t, "one.", "two.", "three."), note(&asked), only(t, "two.", answering(1)),
			step(func(*message.Query, *message.Reply) message.Verdict { return message.Done })},
			"NOERROR aa opt=1232 two. 5 IN A 192.0.2.1", "a.client. one. two.", "two. 0 by answering"},
		{"one question after the other, one waits, who watches sees each", []Step{trying(t, "one.", "two.", "three."), mark("inner"), note(&asked),
			only(t, "two.", waiting), only(t, "three.", answering(1)), step(func(*message.Query, *message.Reply) message.Verdict { return message.Done })},
			"NOERROR aa opt=1232 three. 5 IN A 192.0.2.1", "one. two. three.", "three. 0 by answering inner"},
		{"waiting with the reply", []Step{mark("outer"), slowly, mark("inner"), note(&asked), answering(1)},
			"NOERROR aa opt=1232 A.Client. 5 IN A 192.0.2.1", "a.client.", "a.client. 0 by answering inner slowly 1 outer"},
		{"waiting with the reply to another question", []Step{mark("outer"), slowly, renaming(t, "other."), note(&asked), answering(1)},
			"NOERROR opt=1232 A.Client. 1 IN CNAME other.", "other.", "other. 0 by renaming slowly 1 outer"},
		{"waiting twice", []Step{slowly, waiting, answering(1)},
			"NOERROR aa opt=1232 A.Client. 5 IN A 192.0.2.1", "", "a.client. 0 by answering slowly 1"},
		{"dropped", []Step{mark("outer"), watching(func(*message.Query, *message.Reply) message.Verdict { return message.Drop }), answering(1)},
			"nothing", "", ""},
		{"a panic", []Step{renaming(t, "other."), watching(func(*message.Query, *message.Reply) message.Verdict { panic("no") }), answering(1)},
			"SERVFAIL opt=1232", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked, seen.lines = nil, nil
			outer := block(t, ".", tt.steps...)
			outer.Observers = []Observer{seen}
			b := newBench(t, outer)
			for range 2 { // nothing is left behind
				asked, seen.lines = nil, nil
				if got := b.settled(t, "A.Client."); got != tt.want {
					t.Errorf("reply %s, want %s", got, tt.want)
				}
				if got := strings.Join(asked, " "); got != tt.asked || seen.text() != tt.seen {
					t.Errorf("asked %q, want %q; seen %q, want %q", got, tt.asked, seen.text(), tt.seen)
				}
			}
		})
	}
}

// settled asks a question and waits for the answer, the packet and the desk being overwritten meanwhile.
func (b *bench) settled(t testing.TB, text string) string {
	t.Helper()
	packet, err := new(dns.Msg).SetQuestion(text, dns.TypeA).SetEdns0(4096, false).Pack()
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, 0, message.MaxLen)
	reply, later := b.respond(packet, out)
	if later == nil {
		return short(t, reply)
	}
	clear(packet)
	clear(out[:cap(out)])
	b.arrived(netip.MustParseAddrPort("192.0.2.10:1"), b.q.Local, time.Time{})
	b.q.Parse(wiretest.Bytes(t, "4321 0100 0001 0000 0000 0000 'another' 00 0001 0001"))
	b.r.Begin(&b.q, out)
	reply = later.resume()
	b.arrived(netip.MustParseAddrPort("192.0.2.9:5353"), b.q.Local, time.Now())
	return short(t, reply)
}

// TestReviseGivesUp checks that the client's question comes back where a query with another one cannot wait.
func TestReviseGivesUp(t *testing.T) {
	seen := new(journal)
	full := block(t, ".", renaming(t, "other."), watching(func(*message.Query, *message.Reply) message.Verdict { return message.Park }), answering(1))
	full.Observers = []Observer{seen}
	b := newBench(t, full)
	b.server.parking.limit = 0
	packet, err := new(dns.Msg).SetQuestion("A.Client.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	reply, later := b.respond(packet, nil)
	m := new(dns.Msg)
	if err := m.Unpack(reply); err != nil || later != nil {
		t.Fatal(err, later)
	}
	if m.Rcode != dns.RcodeServerFailure || m.Question[0].Name != "A.Client." {
		t.Errorf("got %v", m)
	}
	if want := "other. 2: " + errFull.Error(); seen.text() != want {
		t.Errorf("seen %q, want %q", seen.text(), want)
	}
}

// TestFirst checks that observers can tell what the client asked, whatever became of it.
func TestFirst(t *testing.T) {
	first := ""
	b := newBench(t, block(t, ".", renaming(t, "other."), step(parkOnce), answering(1)))
	b.server.chains.Load().root[0].Observers = []Observer{observing(func(q *message.Query, _ *message.Reply) {
		first = fmt.Sprintf("%s size %d, then %s size %d", message.AppendName(nil, q.First().Name()), q.First().Size, message.AppendName(nil, q.Name()), q.Size)
	})}
	b.settled(t, "A.Client.")
	if want := "A.Client. size 37, then other. size 34"; first != want {
		t.Errorf("got %q, want %q", first, want)
	}
}
