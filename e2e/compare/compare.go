package compare

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/e2e/ask"
	"github.com/waypost/waypost/e2e/question"
)

// workers is how many questions are on their way at once.
const workers = 16

// shown is how many differences a report has in full.
const shown = 20

// patience is how long a server may take to reply on a busy machine, before it is taken for one that does not reply.
const patience = 15 * time.Second

// Comparison asks CoreDNS and a second server the same questions.
type Comparison struct {
	CoreDNS, Other netip.AddrPort
	Oracle         *Oracle       // nil where the other server is CoreDNS too and nothing departs
	Timeout        time.Duration // of one try; 0 is a second
	Tries          int           // 0 is four
}

// Report is what came of a comparison.
type Report struct {
	Asked       int
	Differences []Mismatch
	Departures  map[string]int // how often each made a difference, by "number name"
	Took        time.Duration
}

// Mismatch is a question that the second server answers wrongly.
type Mismatch struct {
	Question                  string // as arguments of dig
	Type                      uint16
	What                      string
	CoreDNS, Wanted, Received *Answer

	silent bool // one of them is none: perhaps the machine was too busy
}

// Run asks all questions and reports.
func (c *Comparison) Run(questions []question.Question) (*Report, error) {
	start := time.Now()
	report := &Report{Asked: len(questions), Departures: map[string]int{}}
	var next atomic.Int64
	var mu sync.Mutex
	var group sync.WaitGroup
	var failed error
	for range workers {
		group.Go(func() {
			w, err := c.worker()
			for err == nil {
				i := int(next.Add(1)) - 1
				if i >= len(questions) {
					w.close()
					return
				}
				var m *Mismatch
				var applied []Departure
				m, applied, err = w.ask(&questions[i])
				mu.Lock()
				report.note(m, applied)
				mu.Unlock()
			}
			mu.Lock()
			failed = err
			mu.Unlock()
			next.Store(int64(len(questions)))
		})
	}
	group.Wait()
	report.Took = time.Since(start)
	return report, failed
}

func (r *Report) note(m *Mismatch, applied []Departure) {
	for _, d := range applied {
		r.Departures[d.Number+" "+d.Name]++
	}
	if m != nil {
		r.Differences = append(r.Differences, *m)
	}
}

// worker asks one question at a time.
type worker struct {
	oracle         *Oracle
	coredns, other *ask.Conn
}

func (c *Comparison) worker() (*worker, error) {
	w := &worker{oracle: c.Oracle}
	for conn, server := range map[**ask.Conn]netip.AddrPort{&w.coredns: c.CoreDNS, &w.other: c.Other} {
		var err error
		if *conn, err = ask.Dial(server); err != nil {
			return nil, err
		}
		if c.Timeout > 0 {
			(*conn).Timeout = c.Timeout
		}
		if c.Tries > 0 {
			(*conn).Tries = c.Tries
		}
	}
	return w, nil
}

func (w *worker) close() {
	w.coredns.Close()
	w.other.Close()
}

// ask asks both servers a question and returns a Mismatch where the second does not answer as it must. Where that is because
// one of them was silent, both are asked once more, with patience.
func (w *worker) ask(q *question.Question) (*Mismatch, []Departure, error) {
	a, err := w.askCoreDNS(q)
	if err != nil {
		return nil, nil, err
	}
	m, applied, err := w.hold(q, a)
	if err != nil || m == nil || !m.silent {
		return m, applied, err
	}
	defer limit(w.coredns, patience, 1)()
	defer limit(w.other, patience, 1)()
	if a, err = w.coreDNS(q); err != nil {
		return nil, nil, err
	}
	return w.hold(q, a)
}

// hold asks the second server a question and holds its answer against CoreDNS's.
func (w *worker) hold(q *question.Question, a *Answer) (*Mismatch, []Departure, error) {
	want, applied := a, []Departure(nil)
	if w.oracle != nil {
		var err error
		c := &Case{Question: q, Oracle: w.oracle}
		if want, applied, err = c.Depart(a); err != nil {
			return nil, nil, fmt.Errorf("%v: %w", q, err)
		}
	}
	got, err := exchange(w.other, q)
	if err != nil {
		return &Mismatch{q.String(), q.Type, err.Error(), a, want, &Answer{None: true}, false}, applied, nil
	}
	what := w.judge(q, want, got)
	if what == "" {
		return nil, applied, nil
	}
	return &Mismatch{q.String(), q.Type, what, a, want, got, a.None || want.None || got.None}, applied, nil
}

// askCoreDNS asks with little patience where CoreDNS is known not to reply.
func (w *worker) askCoreDNS(q *question.Question) (*Answer, error) {
	if w.oracle != nil {
		if _, silent := w.oracle.Unnamed[strings.ToLower(q.Name)]; silent {
			defer limit(w.coredns, 100*time.Millisecond, 2)()
		}
	}
	return w.coreDNS(q)
}

func (w *worker) coreDNS(q *question.Question) (*Answer, error) {
	a, err := exchange(w.coredns, q)
	if err != nil {
		return nil, fmt.Errorf("CoreDNS, asked %v: %w", q, err)
	}
	return a, nil
}

// limit gives a connection other limits, until what it returns is called.
func limit(conn *ask.Conn, timeout time.Duration, tries int) (reset func()) {
	usualTimeout, usualTries := conn.Timeout, conn.Tries
	conn.Timeout, conn.Tries = timeout, tries
	return func() { conn.Timeout, conn.Tries = usualTimeout, usualTries }
}

// String is the report as a test prints it.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d questions in %.1f s, %d answers differ\n", r.Asked, r.Took.Seconds(), len(r.Differences))
	for _, d := range Departures() {
		if n := r.Departures[d.Number+" "+d.Name]; n > 0 {
			fmt.Fprintf(&b, "  departure %-12s %6d times: %s\n", d.Number, n, d.Name)
		}
	}
	kinds := r.kinds()
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		fmt.Fprintf(&b, "  %6d differ in: %s\n", len(kinds[kind]), kind)
	}
	for _, m := range examples(kinds) {
		fmt.Fprintf(&b, "\ndig %s\ndiffers in: %s\n--- wanted\n%v+++ received\n%v", m.Question, m.What, m.Wanted, m.Received)
	}
	return b.String()
}

// kind names what differences have in common.
func (m *Mismatch) kind() string {
	return fmt.Sprintf("%s, %s, %s for %s", m.What, dns.Type(m.Type), dns.RcodeToString[m.Received.Rcode], dns.RcodeToString[m.Wanted.Rcode])
}

// kinds sorts the differences into kinds.
func (r *Report) kinds() map[string][]Mismatch {
	slices.SortFunc(r.Differences, func(a, b Mismatch) int { return strings.Compare(a.Question, b.Question) })
	kinds := map[string][]Mismatch{}
	for _, m := range r.Differences {
		kinds[m.kind()] = append(kinds[m.kind()], m)
	}
	return kinds
}

// examples picks differences to show, as unlike each other as there are.
func examples(kinds map[string][]Mismatch) []Mismatch {
	var examples []Mismatch
	for round, left := 0, true; left; round++ {
		left = false
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			if round < len(kinds[kind]) && len(examples) < shown {
				examples = append(examples, kinds[kind][round])
				left = true
			}
		}
	}
	return examples
}
