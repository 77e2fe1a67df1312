package xtables

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// table is one as the kernel has it: entries one behind the other, each with a length of its own. Chains lead to each other by
// offsets. A chain begins with an entry that has its name, but for those of hooks, and ends with one that says what becomes of
// packets then; a last entry ends the table.
type table struct {
	hooks            uint32    // which there are, as bits
	begin, underflow [5]uint32 // where a hook's chain begins, and where its last entry is
	entries          uint32
	rules            []byte
}

// layout says where an entry has what, in bytes.
type layout struct {
	targetOffset int // the offset of its target; two bytes behind it is that of the next entry
	head         int // where matches begin, or the target
}

// The target of an entry (struct xt_entry_target), in bytes.
const (
	targetName    = 2  // where its name begins, as long as nameOfTarget; the kernel's own verdicts have none
	nameOfTarget  = 29 // XT_EXTENSION_MAXNAMELEN
	targetData    = 32 // where a verdict is, or a chain's name
	verdictLen    = 4
	chainLen      = 30 // XT_FUNCTION_MAXNAMELEN
	targetOfChain = "ERROR"
)

// entry is one that was read.
type entry struct {
	at, end int
	data    int    // where its target's data is
	target  string // the target's name
	verdict int    // where it leads to: an offset, or below 0 a verdict. Of the kernel's own target
	chain   string // which it begins
}

var errMalformed = errors.New("its rules cannot be read")

// parse reads the entry at an offset.
func (l *layout) parse(rules []byte, at int) (entry, error) {
	if len(rules)-at < l.head {
		return entry{}, errMalformed
	}
	target := int(binary.NativeEndian.Uint16(rules[at+l.targetOffset:]))
	next := int(binary.NativeEndian.Uint16(rules[at+l.targetOffset+2:]))
	if target < l.head || next < target+targetData || next > len(rules)-at {
		return entry{}, errMalformed
	}
	e := entry{at: at, end: at + next, data: at + target + targetData, verdict: -1}
	e.target = text(rules[at+target+targetName:][:nameOfTarget])
	switch data := rules[e.data:e.end]; {
	case e.target == "" && len(data) >= verdictLen:
		e.verdict = int(int32(binary.NativeEndian.Uint32(data)))
	case e.target == targetOfChain && len(data) >= chainLen:
		e.chain = text(data[:chainLen])
	case e.target == "" || e.target == targetOfChain:
		return entry{}, errMalformed
	}
	return e, nil
}

// text is what stands before the first zero byte.
func text(b []byte) string {
	before, _, _ := bytes.Cut(b, []byte{0})
	return string(before)
}

// without is a table without some chains, and without the rules that lead to them; kept are the entries it has of the old one.
func (l *layout) without(old *table, unwanted func(chain string) bool) (pruned *table, kept []int, err error) {
	all, err := l.parseAll(old)
	if err != nil {
		return nil, nil, err
	}
	gone := map[int]bool{} // by where a chain's rules begin
	for i := range all[:len(all)-1] {
		if all[i].chain != "" && unwanted(all[i].chain) {
			gone[all[i].end] = true
		}
	}
	pruned = &table{hooks: old.hooks}
	moved := make(map[int]int, len(all)) // where entries are now, or those after them
	inside := false                      // of a chain that goes
	for i, e := range all {
		if moved[e.at] = len(pruned.rules); e.chain != "" || beginsHook(old, e.at) {
			inside = gone[e.end] && e.chain != ""
		}
		if inside || gone[e.verdict] {
			continue
		}
		kept = append(kept, i)
		pruned.rules = append(pruned.rules, old.rules[e.at:e.end]...)
	}
	pruned.entries = uint32(len(kept))
	for i := range old.begin { // of hooks that are not there too, where it means nothing
		pruned.begin[i], pruned.underflow[i] = uint32(moved[int(old.begin[i])]), uint32(moved[int(old.underflow[i])])
	}
	for _, i := range kept {
		if e := all[i]; e.verdict >= 0 {
			binary.NativeEndian.PutUint32(pruned.rules[moved[e.at]+e.data-e.at:], uint32(moved[e.verdict]))
		}
	}
	return pruned, kept, nil
}

// parseAll reads all entries, and sees that what leads somewhere leads to one.
func (l *layout) parseAll(t *table) (all []entry, err error) {
	starts := map[int]bool{}
	for at := 0; at < len(t.rules); {
		e, err := l.parse(t.rules, at)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
		starts[at] = true
		at = e.end
	}
	if len(all) != int(t.entries) || len(all) == 0 || all[len(all)-1].chain != targetOfChain {
		return nil, errMalformed
	}
	for _, e := range all {
		if e.verdict >= 0 && !starts[e.verdict] {
			return nil, errMalformed
		}
	}
	return all, nil
}

// beginsHook reports whether the chain of a hook begins at an offset.
func beginsHook(t *table, at int) bool {
	for i, begin := range t.begin {
		if t.hooks&(1<<i) != 0 && int(begin) == at {
			return true
		}
	}
	return false
}
