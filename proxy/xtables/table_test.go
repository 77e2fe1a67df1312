package xtables

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// hooks are the names of hooks' chains, by number.
var hooks = []string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}

// write makes a table of chains, one a line. Rules lead to chains, "accept", "count" and go on, or are of a target by name;
// "+" stands for a match before it.
func write(l *layout, text string) *table {
	t := &table{}
	chains := map[string]int{}
	for range 2 { // the second time, it is known where chains begin
		t.rules, t.entries = nil, 0
		for line := range strings.Lines(text) {
			name, rules, _ := strings.Cut(strings.TrimSpace(line), ":")
			hook := slices.Index(hooks, name)
			if hook < 0 {
				t.append(l, "", targetOfChain, append([]byte(name), make([]byte, 32-len(name))...))
			}
			chains[name] = len(t.rules)
			for _, rule := range strings.Fields(rules) {
				matches, target := strings.Count(rule, "+"), strings.TrimLeft(rule, "+")
				t.appendRule(l, strings.Repeat("+", matches*40), target, chains)
			}
			if hook >= 0 {
				t.hooks |= 1 << hook
				t.begin[hook], t.underflow[hook] = uint32(chains[name]), uint32(len(t.rules))
			}
			t.appendVerdict(l, "", -2)
		}
		t.append(l, "", targetOfChain, append([]byte(targetOfChain), make([]byte, 27)...))
	}
	return t
}

func (t *table) appendRule(l *layout, matches, target string, chains map[string]int) {
	at, isChain := chains[target]
	switch {
	case target == "accept":
		t.appendVerdict(l, matches, -2)
	case target == "count":
		t.appendVerdict(l, matches, len(t.rules)+l.head+len(matches)+targetData+8)
	case isChain || target == strings.ToUpper(target):
		t.appendVerdict(l, matches, at)
	default:
		t.append(l, matches, target, make([]byte, 24))
	}
}

func (t *table) appendVerdict(l *layout, matches string, verdict int) {
	t.append(l, matches, "", binary.NativeEndian.AppendUint64(nil, uint64(uint32(int32(verdict)))))
}

func (t *table) append(l *layout, matches, target string, data []byte) {
	entry := append(make([]byte, l.head), matches...)
	binary.NativeEndian.PutUint16(entry[l.targetOffset:], uint16(len(entry)))
	binary.NativeEndian.PutUint16(entry[l.targetOffset+2:], uint16(len(entry)+targetData+len(data)))
	entry = append(entry, 0, 0)
	entry = append(entry, target...)
	entry = append(append(entry, make([]byte, 30-len(target))...), data...)
	t.rules = append(t.rules, entry...)
	t.entries++
}

// read is what write made a table of.
func read(l *layout, t *table) string {
	all, err := l.parseAll(t)
	if err != nil {
		return err.Error()
	}
	names := map[int]string{}
	for i, e := range all {
		if e.chain != "" && i < len(all)-1 {
			names[e.end] = e.chain
		}
	}
	for i, at := range t.begin {
		if t.hooks&(1<<i) != 0 {
			names[int(at)] = hooks[i]
		}
	}
	var out strings.Builder
	for i, e := range all[:len(all)-1] {
		if name := names[e.at]; name != "" {
			fmt.Fprintf(&out, "%s:", name)
		}
		ends := i == len(all)-2 || all[i+1].chain != "" || names[all[i+1].at] != ""
		matches := strings.Repeat("+", (e.data-targetData-e.at-l.head)/40)
		switch {
		case e.chain != "":
		case ends:
			out.WriteString("\n")
			if hook := slices.Index(hooks, lastLine(out.String())); hook >= 0 && int(t.underflow[hook]) != e.at {
				fmt.Fprintf(&out, "its end is at %d, not at %d\n", e.at, t.underflow[hook])
			}
		case e.target != "":
			fmt.Fprintf(&out, " %s%s", matches, e.target)
		case e.verdict < 0:
			fmt.Fprintf(&out, " %saccept", matches)
		case e.verdict == e.end:
			fmt.Fprintf(&out, " %scount", matches)
		default:
			fmt.Fprintf(&out, " %s%s", matches, names[e.verdict])
		}
	}
	return out.String()
}

// lastLine is the name of the chain that the last line tells of.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	name, _, _ := strings.Cut(lines[len(lines)-1], ":")
	return name
}

func unwanted(chain string) bool { return strings.HasPrefix(chain, "KUBE-") }

// whole is a table in which chains lead to each other in all ways, and without is what is to be left of it.
const (
	whole = `PREROUTING: KUBE-SERVICES ++count +KUBE-SERVICES +CNI
INPUT: +KUBE-SERVICES
OUTPUT: count KUBE-SERVICES
KUBE-SVC-1: +KUBE-SEP-1 dnat
CNI: +KUBE-MARK-MASQ +OTHER masquerade
KUBE-SERVICES: ++KUBE-SVC-1 CNI
KUBE-SEP-1: +KUBE-MARK-MASQ +dnat
OTHER: +accept
KUBE-MARK-MASQ: mark
`
	remaining = `PREROUTING: ++count +CNI
INPUT:
OUTPUT: count
CNI: +OTHER masquerade
OTHER: +accept
`
)

func TestChainsGoWithTheRulesThatLeadToThem(t *testing.T) {
	for i := range families {
		f := &families[i]
		old := write(&f.layout, whole)
		if got := read(&f.layout, old); got != whole {
			t.Fatalf("the test reads\n%s\nwhere it wrote\n%s", got, whole)
		}
		got, kept, err := f.without(old, unwanted)
		if err != nil {
			t.Fatal(err)
		}
		if text := read(&f.layout, got); text != remaining {
			t.Errorf("%s: got\n%s\nwant\n%s", f.program, text, remaining)
		}
		if again := write(&f.layout, remaining); !slices.Equal(got.rules, again.rules) || got.begin != again.begin || got.underflow != again.underflow {
			t.Errorf("%s: what is left is not as if it had been written so", f.program)
		}
		if want := []int{1, 3, 4, 6, 7, 9, 14, 16, 17, 18, 27, 28, 29, 33}; !slices.Equal(kept, want) {
			t.Errorf("%s: kept %v, want %v", f.program, kept, want)
		}
	}
}

func TestNothingUnwantedIsNoChange(t *testing.T) {
	f := &families[0]
	old := write(&f.layout, remaining)
	got, kept, err := f.without(old, unwanted)
	if err != nil || len(kept) != int(old.entries) || !slices.Equal(got.rules, old.rules) {
		t.Errorf("kept %d of %d, %v", len(kept), old.entries, err)
	}
}

// FuzzWithout changes bytes of a table.
func FuzzWithout(f *testing.F) {
	for i := range families {
		for _, text := range []string{whole, remaining} {
			t := write(&families[i].layout, text)
			f.Add(i == 1, t.entries, t.rules)
		}
	}
	f.Fuzz(func(t *testing.T, six bool, entries uint32, rules []byte) {
		family := &families[0]
		if six {
			family = &families[1]
		}
		got, kept, err := family.without(&table{hooks: 31, entries: entries, rules: rules}, unwanted)
		if err != nil {
			return
		}
		if len(kept) != int(got.entries) || len(got.rules) > len(rules) {
			t.Errorf("kept %d entries of %d, %d bytes of %d", got.entries, entries, len(got.rules), len(rules))
		}
		if _, _, err := family.without(got, unwanted); err != nil {
			t.Errorf("what is left: %v", err)
		}
	})
}
