package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/e2e/question"
	"github.com/waypost/waypost/e2e/upstreams"
)

// misbehave asks both servers for names that the resolver behind them answers wrongly, each in a way of its own. A client of
// Waypost must get the response code that one of CoreDNS gets, or the right answer where that one does not. Files that
// forward alike are tried once.
func (run *corefileRun) misbehave(t *testing.T, f *corefile, coredns, waypost *place) {
	t.Helper()
	i := slices.IndexFunc(f.targets, func(t target) bool { return t.forwards != "" })
	if i < 0 || !run.first(f.targets[i].forwards) {
		return
	}
	questions, err := brokenQuestions()
	if err != nil {
		t.Fatal(err)
	}
	replies, err := putBroken(t.Context(), coredns, waypost, &f.targets[i], questions)
	if err != nil {
		t.Fatal(err)
	}
	better := 0
	for _, r := range replies {
		switch how, want := asExpected(&r); {
		case want == worse:
			t.Errorf("a resolver that is %s, dig %v: CoreDNS says\n%vWaypost says\n%vand prints\n%s", how, r.Question, r.coredns, r.waypost, linesWith(waypost.Log(), r.Name))
		case want == betterThan:
			better++
		}
	}
	t.Logf("%d questions to a broken resolver, %d answered better than by CoreDNS", len(replies), better)
	run.mu.Lock()
	defer run.mu.Unlock()
	run.broken += len(replies)
}

// putBroken asks both places all questions, and those again for a while that a server had no time for.
func putBroken(ctx context.Context, coredns, waypost *place, t *target, questions []question.Question) ([]reply, error) {
	replies, err := putApart(coredns, waypost, t, questions)
	if err != nil {
		return nil, err
	}
	troubled := func() (questions []question.Question) {
		for _, r := range replies {
			if stalled(r) {
				questions = append(questions, *r.Question)
			}
		}
		return questions
	}
	err = retry(ctx, troubled, func(questions []question.Question) error {
		again, err := putApart(coredns, waypost, t, questions)
		replies = append(slices.DeleteFunc(replies, stalled), again...)
		return err
	})
	return replies, err
}

// putApart asks last what leads to connections that are reset: these take other questions with them.
func putApart(coredns, waypost *place, t *target, questions []question.Question) ([]reply, error) {
	isReset := func(q question.Question) bool { return strings.Contains(q.Name, ".reset.") }
	replies, err := put(coredns, waypost, t, slices.DeleteFunc(slices.Clone(questions), isReset))
	if err != nil {
		return nil, err
	}
	resets, err := put(coredns, waypost, t, slices.DeleteFunc(questions, func(q question.Question) bool { return !isReset(q) }))
	return append(replies, resets...), err
}

// stalled reports whether a reply is worse because somebody failed to find an answer, or the whole of one. On a busy machine
// that is perhaps for want of time, and it is kept for some seconds.
func stalled(r reply) bool {
	_, o := asExpected(&r)
	return o == worse && r.failed == nil && (r.waypost.None || r.waypost.Flags&bitTC != 0 ||
		r.waypost.Rcode == dns.RcodeServerFailure || r.coredns.Rcode == dns.RcodeServerFailure)
}

// linesWith are the lines of a log in which a name stands.
func linesWith(log, name string) string {
	var found strings.Builder
	for line := range strings.Lines(log) {
		if strings.Contains(line, name) {
			found.WriteString(line)
		}
	}
	return found.String()
}

// first reports whether a way to forward is seen for the first time.
func (run *corefileRun) first(forwards string) bool {
	run.mu.Lock()
	defer run.mu.Unlock()
	if slices.Contains(run.forwards, forwards) {
		return false
	}
	run.forwards = append(run.forwards, forwards)
	return true
}

// brokenQuestions are for each misbehaviour, over UDP and TCP, with EDNS and without.
func brokenQuestions() ([]question.Question, error) {
	var questions []question.Question
	for i, how := range upstreams.Behaviours() {
		for n := range 4 {
			m := new(dns.Msg).SetQuestion(fmt.Sprintf("n%d.%s.%s", n, how, upstreams.BrokenZone), dns.TypeA)
			m.Id = uint16(1000 + 4*i + n)
			if n%2 == 1 {
				m.SetEdns0(1232, false)
			}
			packet, err := m.Pack()
			if err != nil {
				return nil, fmt.Errorf("pack a question: %w", err)
			}
			questions = append(questions, question.Question{Packet: packet, Name: m.Question[0].Name, Type: dns.TypeA, TCP: n >= 2})
		}
	}
	return questions, nil
}

// outcome is how Waypost's answer compares with CoreDNS's.
type outcome int

const (
	same outcome = iota
	betterThan
	worse
)

// liars are the misbehaviours that give another question's reply, or none's. Waypost waits for the right one.
var liars = []string{"liar", "lies-first", "query", "bare", "formerr"}

// asExpected judges a reply for a name that the resolver misbehaves for.
func asExpected(r *reply) (how string, o outcome) {
	labels := dns.SplitDomainName(r.Name)
	how = labels[1]
	switch {
	case r.failed != nil || r.waypost.None:
		return how, worse
	case r.coredns.None, r.coredns.Rcode == dns.RcodeFormatError && r.waypost.Rcode == dns.RcodeServerFailure && slices.Contains(liars, how):
		return how, betterThan // than silence, and than telling the client that it is to blame
	case how == "counts" && r.coredns.Rcode == dns.RcodeSuccess && r.waypost.Rcode == dns.RcodeServerFailure:
		return how, same // what cannot be read to its end is not read
	case r.coredns.Rcode == dns.RcodeServerFailure && len(r.waypost.Sections[0]) == 0 && !slices.Contains(liars, how):
		return how, betterThan // or as good: what the resolver said, where CoreDNS had given it up because of what it said before
	case r.coredns.Rcode == dns.RcodeServerFailure && r.waypost.Flags&bitTC != 0:
		return how, betterThan // for a client that can ask again over TCP
	case r.waypost.Rcode == r.coredns.Rcode && (len(r.waypost.Sections[0]) > 0) == (len(r.coredns.Sections[0]) > 0):
		return how, same
	case r.waypost.Rcode == dns.RcodeSuccess && len(r.waypost.Sections[0]) > 0 && r.waypost.Sections[0][0].Data == upstreams.BrokenAnswer:
		return how, betterThan
	}
	return how, worse
}
