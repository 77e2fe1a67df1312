package compare

import (
	"fmt"
	"slices"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/e2e/question"
)

// judge says what is wrong with an answer, "" if nothing is. Two servers may keep different records where not all of them
// fit, so it looks at how many there are then, and that they are among those that belong there.
func (w *worker) judge(q *question.Question, want, got *Answer) string {
	if got.None || want.None {
		return Difference(want, got)
	}
	if err := got.Ordered(); err != nil {
		return err.Error()
	}
	if want.Flags&flagTC == 0 {
		return Difference(want.withRoomFor(q, got), got)
	}
	whole, err := w.whole(q)
	if err != nil {
		return err.Error()
	}
	if wrong := cutWrongly(want, whole, got); wrong != "" {
		return wrong
	}
	cut := want.Clone()
	cut.Sections = got.Sections
	return Difference(cut, got)
}

// whole is the answer that was too long for a datagram, nil where even TCP cannot carry it.
func (w *worker) whole(q *question.Question) (*Answer, error) {
	if q.TCP || w.oracle == nil {
		return nil, nil
	}
	whole, err := w.oracle.Whole(q)
	if err != nil || whole.Flags&flagTC != 0 {
		return nil, err
	}
	return whole, nil
}

// cutWrongly compares two answers with TC. As many records must be left, or nearly so where they differ in length or one of
// the messages went over TCP.
func cutWrongly(want, whole, got *Answer) string {
	spread := 0
	rrs := got.Sections[answers]
	if len(rrs) > 0 && rrs[0].Type != dns.TypeA && rrs[0].Type != dns.TypeAAAA {
		spread = 1 + len(rrs)/20
	}
	if want.Size > maxDatagram {
		spread += 4
	}
	if n := len(want.Sections[answers]); len(rrs) < n-spread || len(rrs) > n+spread {
		return fmt.Sprintf("%d answer records fit, not %d", len(rrs), n)
	}
	if len(slices.Compact(sorted(rrs))) != len(rrs) {
		return "a record comes twice"
	}
	if whole != nil && !subset(rrs, whole.Sections[answers]) {
		return "records that are not among the whole answer's"
	}
	return ""
}

// withRoomFor is the wanted answer without the additional records that the one received leaves out, if those would not fit
// in any more (RFC 2181 section 9).
func (a *Answer) withRoomFor(q *question.Question, got *Answer) *Answer {
	part, all := got.Sections[additional], a.Sections[additional]
	if len(part) >= len(all) || !subset(part, all) || got.Size+longest(all, part) <= q.Limit() {
		return a
	}
	cut := a.Clone()
	cut.Sections[additional] = part
	return cut
}

// longest is the size, in bytes, of the longest record of all that is not in part, its owner a pointer.
func longest(all, part []Record) int {
	size := 0
	for _, r := range all {
		if slices.Contains(part, r) {
			continue
		}
		rr, err := dns.NewRR(r.String())
		if err == nil && rr != nil {
			size = max(size, dns.Len(rr)-len(r.Owner)-1+2)
		}
	}
	return size
}

func subset(part, all []Record) bool {
	for _, r := range part {
		if !slices.Contains(all, r) {
			return false
		}
	}
	return true
}
