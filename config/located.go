package config

import (
	"regexp"
	"strconv"
)

// Located is an error about a place in a Corefile.
type Located struct {
	Directive string // whose it is, "" where it is nobody's
	Pos       Pos    // the zero Pos where it names none
	Text      string // what is wrong
}

var (
	ofDirective = regexp.MustCompile(`^plugin/([a-z0-9_]+): `)
	ofPlace     = regexp.MustCompile(`^(.*?):(\d+) - (?:Error during parsing|Syntax error): `)
	behindPlace = regexp.MustCompile(`\((\S+?):(\d+)[,)]`) // as in "zone is not valid (Corefile:2)"
)

// Locate takes the text of an error of this package, of the grammar or of a directive apart.
func Locate(err error) Located {
	l := Located{Text: err.Error()}
	if match := ofDirective.FindStringSubmatch(l.Text); match != nil {
		l.Directive, l.Text = match[1], l.Text[len(match[0]):]
	}
	if match := ofPlace.FindStringSubmatch(l.Text); match != nil {
		l.Pos, l.Text = place(match[1:]), l.Text[len(match[0]):]
	} else if match := behindPlace.FindStringSubmatch(l.Text); match != nil {
		l.Pos = place(match[1:])
	}
	return l
}

func place(words []string) Pos {
	line, err := strconv.Atoi(words[1])
	if err != nil {
		return Pos{} // more digits than a line can have
	}
	return Pos{File: words[0], Line: line}
}
