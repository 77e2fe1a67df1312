package scenario

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// parser reads the section of questions.
type parser struct {
	line      int
	questions []Question
	answers   []*Answer // that the lines belong to: one server's, or both
	records   *[]string // the section that records are added to, of the first of answers
	section   int
}

func (p *parser) read(text string) error {
	for line := range strings.Lines(text) {
		p.line++
		if err := p.readLine(strings.TrimSpace(line)); err != nil {
			return err
		}
	}
	for i := range p.questions {
		q := &p.questions[i]
		if q.CoreDNS.Status == "" || q.Waypost.Status == "" {
			p.line = q.Line
			return fmt.Errorf("%q has no answer of both servers", q.Command)
		}
	}
	return nil
}

// The lines that say what follows.
const (
	prompt       = "$ "
	onlyCoreDNS  = "CoreDNS:"
	onlyWaypost  = "Waypost, departure "
	statusPrefix = ";; status: "
	ednsPrefix   = "; EDNS: "
)

var sectionLines = [3]string{";; ANSWER SECTION:", ";; AUTHORITY SECTION:", ";; ADDITIONAL SECTION:"}

func (p *parser) readLine(line string) error {
	switch {
	case line == "" || strings.HasPrefix(line, "#"):
		return nil
	case strings.HasPrefix(line, prompt):
		return p.addQuestion(line)
	case len(p.questions) == 0:
		return fmt.Errorf("want a question, not %q", line)
	}
	q := &p.questions[len(p.questions)-1]
	switch {
	case line == onlyCoreDNS:
		p.answers = []*Answer{&q.CoreDNS}
	case strings.HasPrefix(line, onlyWaypost):
		q.Departure = strings.TrimSuffix(strings.TrimPrefix(line, onlyWaypost), ":")
		p.answers = []*Answer{&q.Waypost}
	case strings.HasPrefix(line, statusPrefix):
		status, flags, ok := strings.Cut(strings.TrimPrefix(line, statusPrefix), ", flags: ")
		if _, known := dns.StringToRcode[status]; !ok || !known && status != "BADVERS" {
			return fmt.Errorf("want %qNOERROR, flags: qr aa\", not %q", statusPrefix, line)
		}
		p.each(func(a *Answer) { a.Status, a.Flags = status, flags })
		p.section = -1
	case strings.HasPrefix(line, ednsPrefix):
		p.each(func(a *Answer) { a.EDNS = strings.TrimPrefix(line, ednsPrefix) })
	default:
		return p.addRecord(line)
	}
	return nil
}

func (p *parser) each(do func(*Answer)) {
	for _, a := range p.answers {
		do(a)
	}
}

// addRecord reads the head of a section, or a record in it.
func (p *parser) addRecord(line string) error {
	for i, head := range sectionLines {
		if line == head {
			p.section = i
			return nil
		}
	}
	rr, err := dns.NewRR(line)
	if err != nil || rr == nil || p.section < 0 {
		return fmt.Errorf("want a record in a section, not %q (%w)", line, err)
	}
	p.each(func(a *Answer) { a.Sections[p.section] = append(a.Sections[p.section], record(rr)) })
	return nil
}

// addQuestion reads "$ dig +option NAME TYPE".
func (p *parser) addQuestion(line string) error {
	q := Question{Line: p.line, Command: strings.TrimPrefix(line, prompt), Message: new(dns.Msg)}
	words := strings.Fields(q.Command)
	if len(words) < 3 || words[0] != "dig" {
		return fmt.Errorf("want %q, not %q", prompt+"dig NAME TYPE", line)
	}
	name, typ := words[len(words)-2], words[len(words)-1]
	number, ok := dns.StringToType[typ]
	if !ok {
		return fmt.Errorf("there is no record type %q", typ)
	}
	if _, fits := dns.IsDomainName(name); !fits {
		return fmt.Errorf("%q is no name", name)
	}
	q.Message.SetQuestion(dns.Fqdn(name), number)
	q.Message.Id = uint16(p.line)
	for _, option := range words[1 : len(words)-2] {
		if err := q.set(option); err != nil {
			return err
		}
	}
	p.questions = append(p.questions, q)
	last := &p.questions[len(p.questions)-1]
	p.answers, p.section = []*Answer{&last.CoreDNS, &last.Waypost}, -1
	return nil
}

// set applies an option of dig.
func (q *Question) set(option string) error {
	name, value, _ := strings.Cut(option, "=")
	number, err := strconv.ParseUint(value, 10, 16)
	if value != "" && err != nil {
		return fmt.Errorf("option %s: %w", option, err)
	}
	switch name {
	case "+tcp":
		q.TCP = true
	case "+norecurse":
		q.Message.RecursionDesired = false
	case "+cdflag":
		q.Message.CheckingDisabled = true
	case "+bufsize":
		q.edns().SetUDPSize(uint16(number))
	case "+dnssec":
		q.edns().SetDo()
	case "+edns":
		q.edns().SetVersion(uint8(number))
	default:
		return errors.New("unknown option " + option)
	}
	return nil
}

// edns is the question's OPT record; dig's own size is 1232.
func (q *Question) edns() *dns.OPT {
	if q.Message.IsEdns0() == nil {
		q.Message.SetEdns0(1232, false)
	}
	return q.Message.IsEdns0()
}
