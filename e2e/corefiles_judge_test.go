package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/e2e/compare"
	"github.com/waypost/waypost/e2e/question"
)

// shown is how many differences are printed in full.
const shown = 8

// verdicts are what came of a file's questions.
type verdicts struct {
	asked       int
	departures  map[string]int // how often each made a difference
	differences []mismatch
}

// mismatch is an answer of Waypost that is neither CoreDNS's nor what a departure says.
type mismatch struct {
	reply
	what   string
	want   *compare.Answer
	others []want // that would have been right, too
}

// judge holds the replies to the questions about a file against each other.
func (f *corefile) judge(replies []reply, reference *reference) (*verdicts, error) {
	v := &verdicts{asked: len(replies), departures: map[string]int{}}
	for i := range replies {
		r := &replies[i]
		if r.failed != nil {
			v.differences = append(v.differences, mismatch{*r, r.failed.Error(), r.coredns, nil})
			continue
		}
		wants, err := f.wants(r, reference)
		if err != nil {
			return nil, err
		}
		if v.note(r, wants) {
			continue
		}
		// What CoreDNS has kept may have changed since.
		if r.coredns, err = r.again(r.Question); err != nil {
			return nil, err
		}
		if wants, err = f.wants(r, reference); err != nil {
			return nil, err
		}
		switch {
		case v.note(r, wants):
			v.departures["CoreDNS answers otherwise when asked once more"]++
		case v.note(r, f.told(r)):
			v.departures["the resolver has answered Waypost otherwise"]++
		default:
			v.differs(r, wants)
		}
	}
	return v, nil
}

// note takes the reply for right, and reports that, if it is one of the wanted ones.
func (v *verdicts) note(r *reply, wants []want) bool {
	for _, w := range wants {
		if differs(r, w.Answer) == "" {
			for _, name := range w.applied {
				v.departures[name]++
			}
			return true
		}
	}
	return false
}

// differs notes a reply that is none of the wanted ones.
func (v *verdicts) differs(r *reply, wants []want) {
	v.differences = append(v.differences, mismatch{*r, differs(r, wants[0].Answer), wants[0].Answer, wants[1:]})
}

// trouble reports whether one of the servers failed to answer, or to find an answer, or Waypost to find the whole of one; and
// whether nobody said what is right.
func (m mismatch) trouble() bool {
	failing := func(a *compare.Answer) bool { return a.None || a.Rcode == dns.RcodeServerFailure }
	silent := func(w want) bool { return w.None }
	return m.failed == nil && (failing(m.coredns) || failing(m.waypost) || failing(m.last()) || slices.ContainsFunc(m.others, silent) ||
		m.waypost.Flags&bitTC != 0 && m.want.Flags&bitTC == 0)
}

// last is the last of the answers that would have been right.
func (m mismatch) last() *compare.Answer {
	if len(m.others) == 0 {
		return m.want
	}
	return m.others[len(m.others)-1].Answer
}

// troubled are the questions that met trouble.
func (v *verdicts) troubled() []question.Question {
	var questions []question.Question
	for _, d := range v.differences {
		if d.trouble() {
			questions = append(questions, *d.Question)
		}
	}
	return questions
}

// departed is how often departures of whose name this is a part made a difference.
func (v *verdicts) departed(part string) int {
	n := 0
	for name, times := range v.departures {
		if strings.Contains(name, part) {
			n += times
		}
	}
	return n
}

func (v *verdicts) add(w *verdicts) {
	v.asked += w.asked
	v.differences = append(v.differences, w.differences...)
	for name, n := range w.departures {
		v.departures[name] += n
	}
}

// differs names what differs, "" if nothing does. Letter case is that of whoever asked first where an answer was kept, so
// it does not count.
func differs(r *reply, wanted *compare.Answer) string {
	if r.waypost.None || wanted.None {
		return compare.Difference(wanted, r.waypost)
	}
	if err := r.waypost.Ordered(); err != nil && wanted.Ordered() == nil { // etcd's records may be in any order
		return err.Error()
	}
	want, got := wanted.Clone(), r.waypost.Clone()
	for i := range want.Sections {
		fold(want.Sections[i])
		fold(got.Sections[i])
		count(want.Sections[i], got.Sections[i], 2+uint32(r.age.Seconds()))
	}
	if want.Flags&got.Flags&bitTC != 0 { // which records are left is chance
		want.Sections, got.Sections = [3][]compare.Record{}, [3][]compare.Record{}
	}
	return compare.Difference(want, got)
}

// named are the types whose data holds nothing with a letter case but names.
var named = []uint16{dns.TypeCNAME, dns.TypeNS, dns.TypeMX, dns.TypeSOA, dns.TypePTR, dns.TypeSRV, dns.TypeDNAME, dns.TypeNSEC, dns.TypeRRSIG}

func fold(records []compare.Record) {
	for i := range records {
		records[i].Owner = strings.ToLower(records[i].Owner)
		if slices.Contains(named, records[i].Type) {
			records[i].Data = strings.ToLower(records[i].Data)
		}
	}
}

// count gives the wanted records the TTLs of the received ones where those are as good: caches count down, one perhaps longer
// than the other, from when both began with the same.
func count(want, got []compare.Record, slack uint32) {
	left := slices.Clone(got)
	for i := range want {
		for j, r := range left {
			if r.Owner == want[i].Owner && r.Type == want[i].Type && r.Data == want[i].Data && max(r.TTL, want[i].TTL)-min(r.TTL, want[i].TTL) <= slack {
				want[i].TTL = r.TTL
				left = slices.Delete(left, j, j+1)
				break
			}
		}
	}
}

// String is the verdicts as a test prints them.
func (v *verdicts) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(v.departures)) {
		fmt.Fprintf(&b, "  %6d departed: %s\n", v.departures[name], name)
	}
	kinds := map[string][]mismatch{}
	for _, d := range v.differences {
		kind := fmt.Sprintf("%s, %s for %s", d.what, dns.RcodeToString[rcode(d.waypost)], dns.RcodeToString[d.want.Rcode])
		kinds[kind] = append(kinds[kind], d)
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		fmt.Fprintf(&b, "  %6d differ in: %s\n", len(kinds[kind]), kind)
	}
	for i, kind := range slices.Sorted(maps.Keys(kinds)) {
		if i == shown {
			break
		}
		d := kinds[kind][0]
		fmt.Fprintf(&b, "\nkind %d of them; port %d %v: dig %s\n(packet %x)\ndiffers in: %s\n--- wanted\n%v+++ received\n%v", len(kinds[kind]), d.target.port, d.target.binds, d.Question, d.Packet, d.what, d.want, d.waypost)
		if len(d.others) > 0 {
			fmt.Fprintf(&b, "--- or\n%v", d.last())
		}
	}
	return b.String()
}

func rcode(a *compare.Answer) int {
	if a == nil {
		return -1
	}
	return a.Rcode
}
