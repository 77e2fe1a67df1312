// Package scenario reads files that tell, in text that people can read too, what a cluster DNS server must answer: objects,
// a Corefile, questions as arguments of dig and answers as dig prints them. The same files are run on Waypost and on
// CoreDNS. The format is described in testdata/README.md.
package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/miekg/dns"
)

// Scenario is one file.
type Scenario struct {
	Name      string // of the file, without ".txt"
	Text      string // what stands before the first section: what the scenario is about
	Objects   string // manifests, as YAML documents
	Questions []Question
	corefile  string
}

// Question is a question and the answers to it.
type Question struct {
	Line      int      // in the file
	Command   string   // as it stands there: "dig +tcp web.prod.svc.cluster.local A"
	Message   *dns.Msg // what to send, with an ID
	TCP       bool
	CoreDNS   Answer
	Waypost   Answer // the same, unless Departure says otherwise
	Departure string // the number in docs/differences.md; "" where the answers are one
}

// Answer is what is compared of an answer.
type Answer struct {
	Status   string      // as dig names it, "NXDOMAIN"
	Flags    string      // as dig prints them, "qr aa rd"
	EDNS     string      // as dig prints it, "version: 0, flags: do; udp: 1232"; "" without OPT
	Sections [3][]string // answer, authority and additional records, each field set apart by one space
}

// ReadDir reads all files of a folder.
func ReadDir(dir string) ([]*Scenario, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return nil, fmt.Errorf("list scenarios: %w", err)
	}
	var all []*Scenario
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read a scenario: %w", err)
		}
		s, err := Parse(strings.TrimSuffix(filepath.Base(file), ".txt"), string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, s)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("there are no scenarios in %s", dir)
	}
	return all, nil
}

// cluster is the line of a Corefile that stands for the directive's source.
const cluster = "CLUSTER"

// Corefile is the scenario's Corefile for a server that is told of the objects by source, a line such as "kubeconfig FILE"
// or "manifests FOLDER".
func (s *Scenario) Corefile(source string) string {
	return strings.ReplaceAll(s.corefile, cluster, source)
}

// The sections of a file, each of which has to be there once.
const (
	sectionCorefile  = "-- Corefile --"
	sectionObjects   = "-- objects --"
	sectionQuestions = "-- questions --"
)

// Parse reads a file.
func Parse(name, text string) (*Scenario, error) {
	s := &Scenario{Name: name}
	before, rest, ok := strings.Cut(text, sectionCorefile+"\n")
	corefile, rest, ok2 := strings.Cut(rest, sectionObjects+"\n")
	objects, questions, ok3 := strings.Cut(rest, sectionQuestions+"\n")
	if !ok || !ok2 || !ok3 {
		return nil, fmt.Errorf("want the sections %q, %q and %q, in this order", sectionCorefile, sectionObjects, sectionQuestions)
	}
	s.Text, s.corefile, s.Objects = strings.TrimSpace(before), corefile, objects
	p := &parser{line: strings.Count(text[:len(text)-len(questions)], "\n")}
	if err := p.read(questions); err != nil {
		return nil, fmt.Errorf("line %d: %w", p.line, err)
	}
	s.Questions = p.questions
	return s, nil
}
