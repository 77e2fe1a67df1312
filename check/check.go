// Package check tells what a Corefile comes to without serving it: what is wrong, what is legal and surely not meant, and
// in words what is served where. It rests on the very code of the start, so that the two agree.
package check

import (
	"cmp"
	"slices"
	"strings"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/plugin"
)

// Severity says how bad a finding is.
type Severity string

// The severities, the worst first.
const (
	Error   Severity = "error"   // the process does not start
	Warning Severity = "warning" // it starts, and does something that is surely not meant
	Note    Severity = "note"    // what can only be checked elsewhere
)

// Finding is one thing that a person should look at.
type Finding struct {
	Severity  Severity `json:"severity"`
	File      string   `json:"file"`
	Line      int      `json:"line,omitempty"` // counted from 1; 0 where it is not known
	Directive string   `json:"directive,omitempty"`
	Text      string   `json:"text"`
}

// Report is all that is to be said of a Corefile.
type Report struct {
	File     string    `json:"file"`
	Findings []Finding `json:"findings"` // as they stand in the file
	// Blocks are the server blocks in words. There are none of a Corefile with an error.
	Blocks []Block `json:"blocks"`
}

// Block is a server block in words.
type Block struct {
	File   string          `json:"file"`
	Line   int             `json:"line"`
	Zones  []string        `json:"zones"`
	View   string          `json:"view,omitempty"` // which of the queries for them it gets, by its name
	Served []plugin.Served `json:"served"`         // the zones where the block is asked for them
	Steps  []Directive     `json:"steps"`          // what a query goes through, in the order in which that acts
	Beside []Directive     `json:"beside"`         // what runs beside that
	Open   []string        `json:"open,omitempty"` // zones with names that no directive answers: those are SERVFAIL
}

// Directive is a directive in words.
type Directive struct {
	Name string `json:"name"`
	File string `json:"file"`
	Line int    `json:"line"`
	Does []Does `json:"does"`
}

// Does is one thing that a directive does.
type Does struct {
	Line int    `json:"line"`
	Text string `json:"text"`
}

// Run checks a Corefile that was called name, as config.Parse has read it.
func Run(c *plugin.Compiler, name string, file *config.File, err error) Report {
	r := Report{File: name, Findings: []Finding{}, Blocks: []Block{}}
	if err != nil {
		r.add(Error, err)
		return r
	}
	r.warn(file.Warnings)
	r.warn(file.Unmatched)
	r.warn(unusual(file))
	checked := c.Check(file)
	for _, err := range checked.Errors {
		r.add(Error, err)
	}
	for _, err := range checked.Elsewhere {
		r.add(Note, err)
	}
	r.warn(checked.Warnings)
	r.sort()
	if len(checked.Errors) > 0 {
		return r
	}
	for _, b := range checked.Blocks {
		r.Blocks = append(r.Blocks, block(b))
	}
	return r
}

// Worst is the severity of the worst finding, "" where there is none.
func (r *Report) Worst() Severity {
	for _, severity := range []Severity{Error, Warning, Note} {
		if r.count(severity) > 0 {
			return severity
		}
	}
	return ""
}

func (r *Report) count(severity Severity) int {
	n := 0
	for _, f := range r.Findings {
		if f.Severity == severity {
			n++
		}
	}
	return n
}

// add adds an error, which may be several joined ones.
func (r *Report) add(severity Severity, err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			r.add(severity, err)
		}
		return
	}
	l := config.Locate(err)
	r.Findings = append(r.Findings, Finding{severity, cmp.Or(l.Pos.File, r.File), l.Pos.Line, l.Directive, l.Text})
}

func (r *Report) warn(warnings []config.Warning) {
	for _, w := range warnings {
		r.Findings = append(r.Findings, Finding{Warning, w.Pos.File, w.Pos.Line, w.Directive, w.Text})
	}
}

// sort brings the findings in the order of the file; those in imported files come last.
func (r *Report) sort() {
	main := func(f Finding) int {
		if f.File == r.File {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(main(a), main(b)), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	r.Findings = slices.Compact(r.Findings)
}

// unusual are warnings of zones whose names are not of the preferred syntax. The start has them between the lines that say
// what is served.
func unusual(file *config.File) []config.Warning {
	var warnings []config.Warning
	for _, b := range file.Blocks {
		for _, k := range b.Keys {
			if text, ok := strings.CutPrefix(config.ZoneWarning(k.Zone), "Warning: "); ok {
				warnings = append(warnings, k.Pos.Warningf("%s", text))
			}
		}
	}
	return warnings
}

func block(e plugin.Explained) Block {
	b := Block{
		File: e.Pos.File, Line: e.Pos.Line, Zones: e.Zones, View: e.View, Served: e.Served, Open: e.Open,
		Steps: []Directive{}, Beside: []Directive{},
	}
	for _, told := range e.Steps {
		b.Steps = append(b.Steps, directive(told))
	}
	for _, told := range e.Beside {
		b.Beside = append(b.Beside, directive(told))
	}
	return b
}

func directive(told plugin.Told) Directive {
	d := Directive{Name: told.Name, File: told.Pos.File, Line: told.Pos.Line}
	for _, clause := range told.Clauses {
		d.Does = append(d.Does, Does{clause.Pos.Line, clause.Text})
	}
	return d
}
