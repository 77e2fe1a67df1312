package config

import (
	"fmt"

	"github.com/coredns/caddy/caddyfile"
)

// Warning tells of what is legal and surely not meant.
type Warning struct {
	Pos       Pos
	Directive string // whose it is; "" where it is nobody's
	Text      string // CoreDNS's words where CoreDNS has the same warning
}

// String is the warning with its place behind it, as the log has it.
func (w Warning) String() string { return w.Text + " (" + w.Pos.String() + ")" }

// Warningf makes a warning about this place.
func (p Pos) Warningf(format string, args ...any) Warning {
	return Warning{Pos: p, Text: fmt.Sprintf(format, args...)}
}

// LeftOut are the warnings of words that ParseZones has dropped.
func (p Pos) LeftOut(dropped []string) []Warning {
	var warnings []Warning
	for _, word := range dropped {
		warnings = append(warnings, p.Warningf("%q is not a zone and is left out", word))
	}
	return warnings
}

// At is where a dispenser stands.
func At(c *caddyfile.Dispenser) Pos { return Pos{File: c.File(), Line: c.Line()} }

// Lines are the places of a directive's lines, of which it has more than one where it stands in its block several times.
func (d *Directive) Lines() []Pos {
	var lines []Pos
	for c := d.Dispenser(); c.Next(); {
		lines = append(lines, At(c))
		c.RemainingArgs()
		for c.NextBlock() {
		}
	}
	return lines
}

// OnlyLast are warnings for all lines of a directive but the last, which alone counts.
func (d *Directive) OnlyLast() []Warning {
	lines := d.Lines()
	return unused(lines[:len(lines)-1], "no effect, as the last %s of a server block counts", d.Name)
}

// OnlyFirst are warnings for all lines of a directive but the first, which alone counts.
func (d *Directive) OnlyFirst() []Warning {
	return unused(d.Lines()[1:], "no effect, as the first %s of a server block counts", d.Name)
}

func unused(lines []Pos, format, name string) []Warning {
	var warnings []Warning
	for _, pos := range lines {
		warnings = append(warnings, pos.Warningf(format, name))
	}
	return warnings
}
