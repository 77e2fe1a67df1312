package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waypost/waypost/e2e/fixture"
	"github.com/waypost/waypost/e2e/question"
)

const (
	together           = 6                // files are tried at once
	replyTimeout       = 15 * time.Second // of an answer
	patienceForTrouble = 20 * time.Second // with servers that fail, which caches remember for some seconds
)

// TestCorefiles starts CoreDNS and Waypost with each of the Corefiles that clusters run, unchanged, in surroundings that
// have all that it names, and asks both the same questions.
func TestCorefiles(t *testing.T) {
	control, p := startControlPlane(t)
	if err := fixture.Load(t.Context(), control.APIServer); err != nil {
		t.Fatal(err)
	}
	vocabulary, err := question.Read(t.Context(), control.Client)
	if err != nil {
		t.Fatal(err)
	}
	files, out, err := readCorefiles("../testdata/corefiles")
	if err != nil {
		t.Fatal(err)
	}
	g := newGrounds(t, control, p, out)
	run := &corefileRun{grounds: g, t: t, vocabulary: vocabulary, unsendable: unsendable(t, control, variants[0])}
	var group sync.WaitGroup
	slots := make(chan bool, together)
	for i, f := range files {
		if only := os.Getenv("COREFILE"); only != "" && !strings.HasPrefix(f.name, only) {
			continue
		}
		slots <- true
		group.Go(func() {
			defer func() { <-slots }()
			t.Run(f.name, func(t *testing.T) { run.hold(t, f, 10+2*i) })
		})
	}
	group.Wait()
	for _, text := range run.wrong { // once more, where who reads the end of a long run finds it
		t.Log(text)
	}
	t.Logf("%d files are refused by both with the same words", run.neither)
	t.Logf("%d questions to a broken resolver, behind %d ways to forward", run.broken, len(run.forwards))
	t.Logf("Corefiles: %d of %d behave as in CoreDNS; %d questions, %d differences", run.alike, run.start, run.asked, run.differences)
}

// corefileRun is the run over all files.
type corefileRun struct {
	*grounds
	t          *testing.T // of all files together
	vocabulary *question.Vocabulary
	unsendable map[string][]string
	references references

	mu                               sync.Mutex
	start, alike, asked, differences int
	wrong                            []string // what differs, by file
	neither                          int      // files that neither starts with
	forwards                         []string // the ways to forward that a broken resolver was tried with
	broken                           int      // questions to a broken resolver
}

// hold holds Waypost against CoreDNS with one file.
func (run *corefileRun) hold(t *testing.T, f *corefile, number int) {
	coredns, err := run.newPlace(f, "coredns", "CoreDNS-", number)
	defer coredns.close()
	if err != nil {
		t.Fatal(err)
	}
	waypost, err := run.newPlace(f, "waypost", "Waypost-", number+1)
	defer waypost.close()
	if err != nil {
		t.Fatal(err)
	}
	wanted, err := coredns.started(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := waypost.started(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !wanted || !got {
		run.refused(t, f, wanted, got, coredns, waypost)
		return
	}
	for _, p := range []*place{coredns, waypost} {
		if err := p.synced(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		if err := p.probed(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	coredns.since = time.Now()
	total := &verdicts{departures: map[string]int{}}
	ref := run.references.of(t, run, f)
	inquiries := f.inquiries(run.vocabulary, run.unsendable)
	for _, in := range inquiries {
		v, err := f.compareUsual(t, coredns, waypost, &in, ref)
		if err != nil {
			t.Fatal(err)
		}
		total.add(v)
	}
	run.compareMetrics(t, f, coredns, waypost)
	for _, in := range inquiries {
		v, err := f.compare(t.Context(), coredns, waypost, &in.target, in.odd, ref)
		if err != nil {
			t.Fatal(err)
		}
		total.add(v)
	}
	run.misbehave(t, f, coredns, waypost)
	t.Logf("%d questions, %d differ\n%v", total.asked, len(total.differences), total)
	if len(total.differences) > 0 {
		t.Errorf("%d of %d answers differ", len(total.differences), total.asked)
	}
	run.mu.Lock()
	defer run.mu.Unlock()
	run.start++
	run.asked += total.asked
	run.differences += len(total.differences)
	if len(total.differences) == 0 {
		run.alike++
	} else {
		run.wrong = append(run.wrong, fmt.Sprintf("%s: %d differ\n%v", f.name, len(total.differences), total))
	}
}

// refused checks that a file that one of them does not start with is refused by both, for the same reason.
func (run *corefileRun) refused(t *testing.T, f *corefile, wanted, got bool, coredns, waypost *place) {
	t.Helper()
	switch {
	case got:
		t.Errorf("Waypost starts, CoreDNS does not:\n%s", coredns.LogEnd(5))
	case !wanted && !strings.Contains(waypost.Log(), coredns.LogEnd(1)):
		t.Errorf("CoreDNS says\n%s\nWaypost says\n%s", coredns.LogEnd(1), waypost.LogEnd(5))
	case wanted:
		t.Errorf("CoreDNS starts, Waypost does not:\n%s", waypost.LogEnd(5))
	}
	run.mu.Lock()
	defer run.mu.Unlock()
	if wanted {
		run.start++
	} else {
		run.neither++
	}
}

// compareMetrics compares which metrics there are at all, and what was used.
func (run *corefileRun) compareMetrics(t *testing.T, f *corefile, coredns, waypost *place) {
	t.Helper()
	want, err := coredns.counts(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	got, err := waypost.counts(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range append(missingMetrics(want, got), misused(want, got, f.zones)...) {
		t.Errorf("metrics: %s", wrong)
	}
}

// compareUsual compares the answers to what clients ask, and what both servers counted and printed about that.
func (f *corefile) compareUsual(t *testing.T, coredns, waypost *place, in *inquiry, ref *reference) (*verdicts, error) {
	t.Helper()
	var before [2]counts
	var err error
	for i, p := range []*place{coredns, waypost} {
		if before[i], err = p.settledCounts(t.Context(), f); err != nil {
			return nil, err
		}
	}
	ask := func(questions []question.Question) ([]reply, error) {
		return put(coredns, waypost, &in.target, questions)
	}
	replies, err := ask(in.questions)
	if err != nil {
		return nil, err
	}
	grown, err := f.growth(t.Context(), coredns, waypost, before)
	if err != nil {
		return nil, err
	}
	different := f.compareLines(t.Context(), replies, coredns, waypost)
	for _, line := range different[:min(len(different), shown)] {
		t.Errorf("of %d lines printed by one: %s", len(different), line)
	}
	v, err := f.settle(t.Context(), replies, ref, ask)
	if err != nil || slices.ContainsFunc(replies, func(r reply) bool { return r.failed != nil || r.coredns.None || r.waypost.None }) {
		return v, err // where one was silent it was perhaps asked again
	}
	for _, wrong := range miscounted(grown[0], grown[1], v.departed("ExternalName")+v.departed("NODATA")+v.departed("SOA")) {
		t.Errorf("after the same questions: %s", wrong)
	}
	return v, nil
}

// compare asks both servers about a target and holds the answers against each other. Where one of them was not in time, or
// heard nothing from its own servers in time, both are asked again for a while: that is the machine's fault, unless it stays.
func (f *corefile) compare(ctx context.Context, coredns, waypost *place, t *target, questions []question.Question, ref *reference) (*verdicts, error) {
	ask := func(questions []question.Question) ([]reply, error) { return put(coredns, waypost, t, questions) }
	replies, err := ask(questions)
	if err != nil {
		return nil, err
	}
	return f.settle(ctx, replies, ref, ask)
}

// settle judges the replies, and asks again where there was trouble.
func (f *corefile) settle(ctx context.Context, replies []reply, ref *reference, ask func([]question.Question) ([]reply, error)) (*verdicts, error) {
	v, err := f.judge(replies, ref)
	if err != nil {
		return nil, err
	}
	err = retry(ctx, v.troubled, func(questions []question.Question) error {
		replies, err := ask(questions)
		if err != nil {
			return err
		}
		again, err := f.judge(replies, ref)
		if err != nil {
			return err
		}
		v.differences = append(slices.DeleteFunc(v.differences, mismatch.trouble), again.differences...)
		return nil
	})
	return v, err
}

// retry asks the questions that meet trouble again each second, until none does or patience is over.
func retry(ctx context.Context, troubled func() []question.Question, ask func([]question.Question) error) error {
	ctx, cancel := context.WithTimeout(ctx, patienceForTrouble)
	defer cancel()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for questions := troubled(); len(questions) > 0; questions = troubled() {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := ask(questions); err != nil {
			return err
		}
	}
	return nil
}
