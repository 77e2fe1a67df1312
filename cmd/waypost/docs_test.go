package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// example is a dig line of a page, with what it says of the answer: "# NOERROR, 2 answers".
var example = regexp.MustCompile(`(?m)^ +dig @127\.0\.0\.1 -p 1053 (.*?) +# ([A-Z]+), (\d+) answers?$`)

// TestExamples asks the demo every dig line of README and of the page about differences.
func TestExamples(t *testing.T) {
	port := freePort(t)
	r := start(t, program(t, "demo", "-p", port))
	for !strings.HasPrefix(r.line(), "It is described by") {
	}
	for page, least := range map[string]int{"../../README.md": 3, "../../docs/differences.md": 10} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		matches := example.FindAllStringSubmatch(string(text), -1)
		if len(matches) < least || len(matches) != strings.Count(string(text), "\n    dig @") {
			t.Errorf("%s: %d examples", page, len(matches))
		}
		for _, m := range matches {
			reply := dig(t, port, m[1])
			got := fmt.Sprintf("%s, %d", dns.RcodeToString[reply.Rcode], len(reply.Answer))
			if want := m[2] + ", " + m[3]; got != want {
				t.Errorf("%s: dig %s: got %s, want %s", page, m[1], got, want)
			}
		}
	}
	r.signal(syscall.SIGTERM)
	r.end(0)
}

// dig asks what dig's arguments say.
func dig(t *testing.T, port, args string) *dns.Msg {
	t.Helper()
	request := new(dns.Msg).SetQuestion(".", dns.TypeA)
	client := &dns.Client{Timeout: 20 * time.Second}
	words := strings.Fields(args)
	for i := 0; i < len(words); i++ {
		switch word := words[i]; {
		case word == "+tcp":
			client.Net = "tcp"
		case word == "+opcode=notify":
			request.Opcode = dns.OpcodeNotify
		case word == "-c":
			i++
			request.Question[0].Qclass = dns.StringToClass[words[i]]
		case dns.StringToType[word] != 0:
			request.Question[0].Qtype = dns.StringToType[word]
		default:
			request.Question[0].Name = dns.Fqdn(word)
		}
	}
	reply, _, err := client.Exchange(request, "127.0.0.1:"+port)
	if err != nil {
		t.Fatalf("dig %s: %v", args, err)
	}
	return reply
}

// TestHint: the demo prints examples that README has.
func TestHint(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	hint := fmt.Sprintf(demoHint, demoPort, "FOLDER")
	lines := regexp.MustCompile(`(?m)^ +(dig .*)$`).FindAllStringSubmatch(hint, -1)
	if len(lines) != 3 {
		t.Errorf("%d examples", len(lines))
	}
	for _, line := range lines {
		if !strings.Contains(string(readme), line[1]+" ") {
			t.Errorf("README does not have %q", line[1])
		}
	}
}
