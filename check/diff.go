package check

import (
	"fmt"
	"slices"
	"strings"
)

// Diff is what is another Corefile's in the place of one.
type Diff struct {
	Old      string    `json:"old"`
	New      string    `json:"new"`
	Findings []Finding `json:"findings"` // all of New, and the errors of Old; with an error there are no changes
	Changes  []Change  `json:"changes"`
}

// Change is what becomes other in one server block.
type Change struct {
	Block string `json:"block"` // which one, by its first zone and listener
	What  What   `json:"what"`
	// Directive is the one that becomes other; "" for the block itself.
	Directive string `json:"directive,omitempty"`
	// OldLine and NewLine are where it stands; 0 where it does not.
	OldLine int `json:"oldLine,omitempty"`
	NewLine int `json:"newLine,omitempty"`
	// Gone and Come are what it did and does.
	Gone []string `json:"gone,omitempty"`
	Come []string `json:"come,omitempty"`
}

// What happens.
type What string

// What can happen to a server block or a directive.
const (
	Added   What = "added"
	Removed What = "removed"
	Changed What = "changed"
)

// Compare says what changes when a Corefile takes the place of another one. What means the same is no change, however it is
// written: order, comments, defaults, units, snippets.
func Compare(old, next Report) Diff {
	d := Diff{Old: old.File, New: next.File, Findings: append([]Finding{}, next.Findings...), Changes: []Change{}}
	for _, f := range old.Findings {
		if f.Severity == Error {
			d.Findings = append(d.Findings, f)
		}
	}
	if old.Worst() == Error || next.Worst() == Error {
		return d
	}
	taken := make([]bool, len(old.Blocks))
	for i := range next.Blocks {
		n := &next.Blocks[i]
		j := n.closest(old.Blocks, taken)
		if j < 0 {
			d.Changes = append(d.Changes, n.whole(Added)...)
			continue
		}
		taken[j] = true
		d.Changes = append(d.Changes, n.since(&old.Blocks[j])...)
	}
	for j := range old.Blocks {
		if !taken[j] {
			d.Changes = append(d.Changes, old.Blocks[j].whole(Removed)...)
		}
	}
	return d
}

// name is what tells the block from others: its first zone, where it is asked for that, and by which queries.
func (b *Block) name() string {
	name := b.Zones[0]
	if len(b.Served) > 0 {
		name = b.Served[0].Zone + " at " + b.Served[0].Listener
	}
	if b.View != "" {
		name += " in view " + b.View
	}
	return name
}

// served are the zones with the listeners where the block is asked for them.
func (b *Block) served() []string {
	var all []string
	for _, s := range b.Served {
		all = append(all, s.Zone+" at "+s.Listener)
	}
	slices.Sort(all)
	return all
}

// closest is the index of the block that shares the most zones and listeners with this one, of several the one with the
// same view; -1 where none shares any.
func (b *Block) closest(blocks []Block, taken []bool) int {
	best, most := -1, 0
	for i := range blocks {
		shared := 2 * len(both(b.served(), blocks[i].served()))
		if shared > 0 && b.View == blocks[i].View {
			shared++
		}
		if !taken[i] && shared > most {
			best, most = i, shared
		}
	}
	return best
}

func both(a, b []string) []string {
	var shared []string
	for _, text := range a {
		if slices.Contains(b, text) {
			shared = append(shared, text)
		}
	}
	return shared
}

// whole is the change of a block that is new, or no more.
func (b *Block) whole(what What) []Change {
	c := Change{Block: b.name(), What: what}
	var does []string
	for _, d := range b.directives() {
		for _, text := range d.texts() {
			does = append(does, d.Name+": "+text)
		}
	}
	if what == Added {
		c.NewLine, c.Come = b.Line, does
	} else {
		c.OldLine, c.Gone = b.Line, does
	}
	return []Change{c}
}

// since are the changes from what the block was.
func (b *Block) since(old *Block) []Change {
	var changes []Change
	if c := difference(old.served(), b.served()); c != nil {
		c.Block, c.What, c.OldLine, c.NewLine = b.name(), Changed, old.Line, b.Line
		for _, texts := range [][]string{c.Gone, c.Come} {
			for i := range texts {
				texts[i] = "is asked for " + texts[i]
			}
		}
		changes = append(changes, *c)
	}
	for _, d := range b.directives() {
		before := find(old.directives(), d.Name)
		if before == nil {
			changes = append(changes, Change{Block: b.name(), What: Added, Directive: d.Name, NewLine: d.Line, Come: d.texts()})
		} else if c := difference(before.texts(), d.texts()); c != nil {
			c.Block, c.What, c.Directive, c.OldLine, c.NewLine = b.name(), Changed, d.Name, before.Line, d.Line
			changes = append(changes, *c)
		}
	}
	for _, d := range old.directives() {
		if find(b.directives(), d.Name) == nil {
			changes = append(changes, Change{Block: b.name(), What: Removed, Directive: d.Name, OldLine: d.Line, Gone: d.texts()})
		}
	}
	return changes
}

func (b *Block) directives() []Directive { return slices.Concat(b.Steps, b.Beside) }

func find(directives []Directive, name string) *Directive {
	for i := range directives {
		if directives[i].Name == name {
			return &directives[i]
		}
	}
	return nil
}

func (d *Directive) texts() []string {
	var texts []string
	for _, does := range d.Does {
		texts = append(texts, does.Text)
	}
	return texts
}

// difference is what is gone and what has come, nil where that is nothing. The same in another order counts, for it
// decides which rule comes first.
func difference(old, next []string) *Change {
	if slices.Equal(old, next) {
		return nil
	}
	c := &Change{Gone: without(old, next), Come: without(next, old)}
	if len(c.Gone)+len(c.Come) == 0 {
		c.Come = []string{"the same in another order: " + strings.Join(next, "; ")}
	}
	return c
}

// without is what of a list is not in another one, each as often as it is there more often.
func without(list, other []string) []string {
	other = slices.Clone(other)
	var rest []string
	for _, text := range list {
		if i := slices.Index(other, text); i >= 0 {
			other = slices.Delete(other, i, i+1)
			continue
		}
		rest = append(rest, text)
	}
	return rest
}

// Text is the difference for a person.
func (d *Diff) Text() string {
	var out strings.Builder
	writeFindings(&out, d.Findings)
	if slices.ContainsFunc(d.Findings, func(f Finding) bool { return f.Severity == Error }) {
		fmt.Fprintf(&out, "%s and %s cannot be compared before the errors are gone\n", d.Old, d.New)
		return out.String()
	}
	if len(d.Changes) == 0 {
		fmt.Fprintf(&out, "%s and %s mean the same\n", d.Old, d.New)
		return out.String()
	}
	fmt.Fprintf(&out, "%s in place of %s:\n", d.New, d.Old)
	block := ""
	for _, c := range d.Changes {
		if c.Block != block {
			block = c.Block
			fmt.Fprintf(&out, "\nserver block for %s\n", block)
		}
		fmt.Fprintf(&out, "  %s\n", c.headline())
		for _, text := range c.Gone {
			fmt.Fprintf(&out, "    - %s\n", text)
		}
		for _, text := range c.Come {
			fmt.Fprintf(&out, "    + %s\n", text)
		}
	}
	return out.String()
}

// headline says what happens to what, and where that stands.
func (c *Change) headline() string {
	what := c.Directive
	if what == "" {
		what = "the server block"
	}
	switch c.What {
	case Added:
		return fmt.Sprintf("%s is new (line %d)", what, c.NewLine)
	case Removed:
		return fmt.Sprintf("%s is gone (was line %d)", what, c.OldLine)
	}
	return fmt.Sprintf("%s changes (line %d, was line %d)", what, c.NewLine, c.OldLine)
}
