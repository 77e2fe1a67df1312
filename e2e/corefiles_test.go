package e2e

import (
	"context"
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
	together           = 4                // files are tried at once
	replyTimeout       = 8 * time.Second  // of an answer
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
	t.Logf("%d files are refused by both with the same words; directives that Waypost does not have yet: %v", run.neither, run.unsupported)
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
	neither                          int // files that neither starts with
	unsupported                      []string
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
	}
	coredns.since = time.Now()
	total := &verdicts{departures: map[string]int{}}
	ref := run.references.of(t, run, f)
	for _, in := range f.inquiries(run.vocabulary, run.unsendable) {
		for _, questions := range [][]question.Question{in.questions, in.odd} {
			v, err := f.compare(t.Context(), coredns, waypost, &in.target, questions, ref)
			if err != nil {
				t.Fatal(err)
			}
			total.add(v)
		}
	}
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
	}
}

// missing are the directives for which Waypost does not start with a file that CoreDNS starts with.
var missing = map[string]string{
	"external-dns-etcd.Corefile": "etcd", "field-view-fallback.Corefile": "view", "istiocoredns-grpc.Corefile": "grpc",
	"zalando-coredns-local.Corefile": "pprof",
}

// refused checks that a file that one or both do not start with is refused for the same reason, or for a directive that is
// known to be missing.
func (run *corefileRun) refused(t *testing.T, f *corefile, wanted, got bool, coredns, waypost *place) {
	t.Helper()
	switch {
	case got:
		t.Errorf("Waypost starts, CoreDNS does not:\n%s", coredns.LogEnd(5))
	case !wanted && !strings.Contains(waypost.Log(), coredns.LogEnd(1)):
		t.Errorf("CoreDNS says\n%s\nWaypost says\n%s", coredns.LogEnd(1), waypost.LogEnd(5))
	case wanted && !strings.Contains(waypost.Log(), "directive '"+missing[f.name]+"' is not supported by Waypost yet"):
		t.Errorf("CoreDNS starts, Waypost does not:\n%s", waypost.LogEnd(5))
	}
	run.mu.Lock()
	defer run.mu.Unlock()
	if wanted {
		run.start++
		run.unsupported = append(run.unsupported, f.name+" ("+missing[f.name]+")")
	} else {
		run.neither++
	}
}

// compare asks both servers about a target and holds the answers against each other. Where one of them was not in time, or
// heard nothing from its own servers in time, both are asked again for a while: that is the machine's fault, unless it stays.
func (f *corefile) compare(ctx context.Context, coredns, waypost *place, t *target, questions []question.Question, ref *reference) (*verdicts, error) {
	replies, err := put(coredns, waypost, t, questions)
	if err != nil {
		return nil, err
	}
	v, err := f.judge(replies, ref)
	ctx, cancel := context.WithTimeout(ctx, patienceForTrouble)
	defer cancel()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for err == nil && len(v.troubled()) > 0 {
		select {
		case <-ctx.Done():
			return v, nil
		case <-ticker.C:
		}
		if replies, err = put(coredns, waypost, t, v.troubled()); err != nil {
			return nil, err
		}
		var again *verdicts
		if again, err = f.judge(replies, ref); err == nil {
			v.differences = slices.DeleteFunc(v.differences, mismatch.trouble)
			v.differences = append(v.differences, again.differences...)
		}
	}
	return v, err
}
