package server

import (
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
)

// resume lets a parked query go on and returns its answer.
func (p *parked) resume() []byte { return p.wait(p.goOn) }

// waiter is a Waiter made of a function.
type waiter func(q *message.Query, r *message.Reply, resume func(message.Verdict))

func (waiter) Serve(_ *message.Query, r *message.Reply) message.Verdict {
	r.Authoritative = true // taken back
	return message.Park
}

func (w waiter) Wait(q *message.Query, r *message.Reply, resume func(message.Verdict)) {
	w(q, r, resume)
}

// telling is a Waiter that resumes with a verdict, from another goroutine.
func telling(v message.Verdict) waiter {
	return func(q *message.Query, r *message.Reply, resume func(message.Verdict)) {
		go func() {
			r.By = "telling"
			resume(v)
		}()
	}
}

// park lets the bench respond to a question that is parked.
func (b *bench) park(t testing.TB, name string) *parked {
	t.Helper()
	packet, err := new(dns.Msg).SetQuestion(name, dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	reply, later := b.respond(packet, nil)
	clear(packet)
	if later == nil {
		t.Fatalf("answered at once: %s", short(t, reply))
	}
	return later
}

func TestWaiter(t *testing.T) {
	var resumeLater func(message.Verdict)
	for _, tt := range []struct {
		name  string
		steps []Step
		want  string
		seen  string
	}{
		{"done at once", []Step{waiter(func(q *message.Query, r *message.Reply, resume func(message.Verdict)) {
			answering(1)(q, r)
			resume(message.Done)
		})}, "NOERROR aa x.y. 5 IN A 192.0.2.1", "x.y. 0 by answering"},
		{"done later", []Step{telling(message.Done)}, "NOERROR", "x.y. 0 by telling"},
		{"an error code", []Step{waiter(func(q *message.Query, r *message.Reply, resume func(message.Verdict)) {
			r.Rcode, r.Err = message.Refused, fmt.Errorf("too many")
			resume(message.Done)
		})}, "REFUSED", "x.y. 5: too many"},
		{"passed on", []Step{telling(message.Next), answering(2)}, "NOERROR aa x.y. 5 IN A 192.0.2.2", "x.y. 0 by answering"},
		{"passed on to nobody", []Step{telling(message.Next)}, "SERVFAIL", "x.y. 2 by telling: plugin/last: no next plugin found"},
		{"passed on to another", []Step{telling(message.Next), telling(message.Next), answering(2)}, "NOERROR aa x.y. 5 IN A 192.0.2.2", "x.y. 0 by answering"},
		{"passed on to one that may wait", []Step{telling(message.Next), step(parkOnce), telling(message.Next), answering(2)}, "NOERROR aa x.y. 5 IN A 192.0.2.2", "x.y. 0 by answering"},
		{"to be called where it may wait", []Step{callable{telling(message.Park), answering(3)}}, "NOERROR aa x.y. 5 IN A 192.0.2.3", "x.y. 0 by answering"},
		{"dropped", []Step{telling(message.Drop)}, "nothing", ""},
		{"told twice", []Step{waiter(func(q *message.Query, r *message.Reply, resume func(message.Verdict)) {
			resumeLater = resume
			resume(message.Done)
			resume(message.Drop)
		})}, "NOERROR", "x.y. 0"},
		{"a panic", []Step{waiter(func(*message.Query, *message.Reply, func(message.Verdict)) { panic("out of order") })}, "SERVFAIL", ""},
		{"a panic after the end", []Step{waiter(func(_ *message.Query, _ *message.Reply, resume func(message.Verdict)) {
			resume(message.Done)
			panic("out of order")
		})}, "NOERROR", "x.y. 0"},
		{"a panic behind it", []Step{telling(message.Next), panicking}, "SERVFAIL", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seen, revised := new(journal), 0
			watch := watching(func(*message.Query, *message.Reply) message.Verdict {
				revised++
				return message.Done
			})
			parking := block(t, ".", append([]Step{watch}, tt.steps...)...)
			parking.Observers = []Observer{seen}
			b := newBench(t, parking)
			if got := short(t, b.park(t, "x.y.").resume()); got != tt.want {
				t.Errorf("reply %s, want %s", got, tt.want)
			}
			if resumeLater != nil {
				resumeLater(message.Done)
			}
			if seen.text() != tt.seen {
				t.Errorf("seen %q, want %q", seen.text(), tt.seen)
			}
			if strings.Contains(tt.seen, " ") && revised != 1 {
				t.Errorf("%d revisions", revised)
			}
			if n := b.server.parking.taken.Load(); n != 0 {
				t.Errorf("%d still count as parked", n)
			}
		})
	}
}

// callable is a Waiter whose Serve does something else where it may wait.
type callable struct {
	waiter
	blocking step
}

func (c callable) Serve(q *message.Query, r *message.Reply) message.Verdict {
	if !q.MayBlock {
		return message.Park
	}
	return c.blocking(q, r)
}

// TestWaiterRevises: a Waiter that passes on may want to see the reply.
func TestWaiterRevises(t *testing.T) {
	revised := 0
	watch := waiter(func(_ *message.Query, r *message.Reply, resume func(message.Verdict)) {
		r.Revisions = append(r.Revisions, revision(func(_ *message.Query, r *message.Reply) message.Verdict {
			revised += r.Count(message.Answer)
			return message.Done
		}))
		resume(message.Next)
	})
	b := newBench(t, block(t, ".", watch, answering(2)))
	if got := short(t, b.park(t, "x.y.").resume()); got != "NOERROR aa x.y. 5 IN A 192.0.2.2" || revised != 1 {
		t.Errorf("reply %s, seen %d answers", got, revised)
	}
}

// TestWaiterFromInside: who asks the server may wait for a Waiter, if he may wait at all.
func TestWaiterFromInside(t *testing.T) {
	target := block(t, "target.", telling(message.Next), step(parkOnce), answering(4))
	for _, tt := range []struct {
		mayBlock bool
		want     string
	}{{true, "NOERROR aa x.target. 5 IN A 192.0.2.4"}, {false, "SERVFAIL"}} {
		b := newBench(t, target)
		outer := query(t, "outer.", dns.TypeA)
		outer.Resolver, outer.MayBlock = b.server, tt.mayBlock
		reply, covered := b.server.Resolve(outer, name(t, "x.target."), message.TypeA)
		if got := short(t, reply); got != tt.want || !covered {
			t.Errorf("may wait %v: %s covered %v, want %s", tt.mayBlock, got, covered, tt.want)
		}
	}
}

// TestRefresh: the steps are asked what the client asked, and nobody hears of it.
func TestRefresh(t *testing.T) {
	var asked []string
	kept := make(chan string, 4)
	keeping := step(func(q *message.Query, r *message.Reply) message.Verdict {
		if !q.Refresh {
			q.Resolver.Refresh(q)
			return message.Next
		}
		r.Revisions = append(r.Revisions, revision(func(q *message.Query, r *message.Reply) message.Verdict {
			kept <- fmt.Sprintf("%s %d answers, limit %d, may wait %v", message.AppendName(nil, q.Lower()), r.Count(message.Answer), q.Limit(), q.MayBlock)
			return message.Done
		}))
		return message.Next
	})
	seen := new(journal)
	parking := block(t, ".", note(&asked), renaming(t, "other."), keeping, telling(message.Next), answering(1))
	parking.Observers = []Observer{seen}
	b := newBench(t, parking)
	b.server.parking.limit = 2
	p := b.park(t, "x.y.")
	if got, want := <-kept, "other. 1 answers, limit 65535, may wait false"; got != want {
		t.Errorf("kept %q, want %q", got, want)
	}
	p.resume()
	if want := []string{"x.y.", "x.y."}; !slices.Equal(asked, want) {
		t.Errorf("asked for %q, want %q", asked, want)
	}
	if got := seen.text(); strings.Count(got, "\n") != 0 || got == "" {
		t.Errorf("seen %q, want the client's query alone", got)
	}
	for deadline := time.Now().Add(20 * time.Second); b.server.parking.taken.Load() > 0 && time.Now().Before(deadline); {
		runtime.Gosched() // what was kept has been told before its end
	}
	// Where too many queries are parked there is none.
	b.server.parking.limit = 0
	b.server.Refresh(query(t, "z.", dns.TypeA))
	if len(asked) != 2 || b.server.parking.taken.Load() != 0 {
		t.Errorf("asked for %q, parked %d", asked, b.server.parking.taken.Load())
	}
}

// TestParkedPerStep: queries for a silent upstream leave places to those that wait for others.
func TestParkedPerStep(t *testing.T) {
	seen := new(journal)
	parking := step(func(q *message.Query, _ *message.Reply) message.Verdict {
		if q.MayBlock {
			return message.Done
		}
		return message.Park
	})
	silent, other := block(t, "silent.", parking), block(t, "other.", parking)
	silent.Observers, other.Observers = []Observer{seen}, []Observer{seen}
	b := newBench(t, silent, other)
	b.server.parking.limit, b.server.limits.ParkedPerStep = 3, 2
	waiting := []*parked{b.park(t, "a.silent."), b.park(t, "b.silent.")}
	b.ask(t, "c.silent.", dns.TypeA)
	waiting = append(waiting, b.park(t, "a.other."))
	b.ask(t, "b.other.", dns.TypeA)
	if want := "c.silent. 2: " + errShare.Error() + "\nb.other. 2: " + errFull.Error(); seen.text() != want {
		t.Errorf("seen\n%s\nwant\n%s", seen.text(), want)
	}
	for _, p := range waiting {
		p.resume()
	}
	waiting = []*parked{b.park(t, "c.silent."), b.park(t, "d.silent."), b.park(t, "b.other.")}
	for _, p := range waiting {
		p.resume()
	}
	if n := b.server.parking.taken.Load(); n != 0 {
		t.Errorf("%d still count as parked", n)
	}
}

// TestWaiterOnSockets: the answer finds its way to the client, over UDP and TCP.
func TestWaiterOnSockets(t *testing.T) {
	let := make(chan struct{})
	held := waiter(func(q *message.Query, r *message.Reply, resume func(message.Verdict)) {
		go func() {
			<-let
			answering(1)(q, r)
			resume(message.Done)
		}()
	})
	s := start(t, Config{Blocks: []*Block{block(t, "slow.", held), block(t, ".", answering(1))}})
	for _, network := range []string{"udp", "tcp"} {
		c := newClient(t, network, s.Addr().String())
		c.send(1, "x.slow.")
		c.send(2, "x.fast.")
		if got := fmt.Sprint(c.receive(1)); got != "[2]" {
			t.Errorf("%s: first answer %s", network, got)
		}
		go func() { let <- struct{}{} }()
		if got := fmt.Sprint(c.receive(1)); got != "[1]" {
			t.Errorf("%s: late answer %s", network, got)
		}
	}
}

// TestSlowClient: a TCP client that takes no answers does not hold up the one who tells them.
func TestSlowClient(t *testing.T) {
	resumes := make(chan func(), 100)
	big := waiter(func(q *message.Query, r *message.Reply, resume func(message.Verdict)) {
		resumes <- func() {
			r.Record(message.Answer, message.QuestionAt, message.TypeTXT, 5)
			r.Bytes(make([]byte, 60000))
			r.End()
			resume(message.Done)
		}
	})
	s := start(t, Config{Blocks: []*Block{block(t, ".", big)}, Limits: Limits{Write: 50 * time.Millisecond}})
	c := newClient(t, "tcp", s.Addr().String())
	c.Conn.Conn.(*net.TCPConn).SetReadBuffer(4096)
	const n = 100 // 6 MB, more than the buffers between the two hold
	for id := range n {
		c.write(framed(t, id, "x.example."))
	}
	told := make(chan struct{})
	go func() {
		for range n {
			(<-resumes)()
		}
		close(told)
	}()
	select {
	case <-told:
	case <-time.After(20 * time.Second):
		t.Fatal("the one who tells is held up")
	}
}
