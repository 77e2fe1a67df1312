package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDidYouMean(t *testing.T) {
	words := []string{"success", "denial", "prefetch", "serve_stale", "servfail", "ttl", "fallthrough"}
	tests := []struct{ word, want string }{
		{"sucess", "success"}, {"succesS", "success"}, {"prefecth", "prefetch"}, {"fallthru", "fallthrough"},
		{"falltrough", "fallthrough"}, {"servefail", "servfail"}, {"ttls", "ttl"}, {"tll", "ttl"},
		{"ttl", ""}, {"ab", ""}, {"keep", ""}, {"", ""}, {strings.Repeat("x", 1000), ""},
	}
	for _, tt := range tests {
		if got := Near(tt.word, words); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.word, got, tt.want)
		}
	}
	if got := DidYouMean("sucess", words) + DidYouMean("nothing", words); got != " (did you mean success?)" {
		t.Errorf("got %q", got)
	}
}

// TestDistance: it is the same from both sides, and no more than the longer word.
func TestDistance(t *testing.T) {
	tests := []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "ab", 1}, {"abc", "xbc", 1}, {"kitten", "sitting", 3},
		{strings.Repeat("a", maxWord), strings.Repeat("b", maxWord), maxWord}, {strings.Repeat("a", maxWord+1), "a", maxWord},
	}
	for _, tt := range tests {
		if there, back := distance(tt.a, tt.b), distance(tt.b, tt.a); there != tt.want || back != tt.want {
			t.Errorf("%q, %q: %d and %d, want %d", tt.a, tt.b, there, back, tt.want)
		}
	}
}

func TestBrief(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Second: "1s", time.Minute: "1m", 90 * time.Second: "1m30s", time.Hour: "1h", 61 * time.Minute: "1h1m",
		10 * time.Second: "10s", 500 * time.Millisecond: "500ms", 100 * time.Hour: "100h", 20 * time.Minute: "20m",
	} {
		if got := Brief(d); got != want {
			t.Errorf("%d: got %s, want %s", d, got, want)
		}
	}
}

func TestOutside(t *testing.T) {
	tests := []struct {
		zones   string
		regions []Region
		want    string
	}{
		{". a.", nil, ". a."},
		{". a.", []Region{{Zone: "."}}, ""},
		{"a.b. c.", []Region{{Zone: "b."}}, "c."},
		{"b.", []Region{{Zone: "a.b."}}, "b."},
		{".", []Region{{Zone: ".", Except: Zones{"a.", "b."}}}, "a. b."},
		{"a.", []Region{{Zone: ".", Except: Zones{"b."}}}, ""},
		{"x.a.", []Region{{Zone: ".", Except: Zones{"a."}}}, "x.a."},
		{"ab.", []Region{{Zone: "b."}}, "ab."},
		{"cluster.local. in-addr.arpa.", []Region{
			{Zone: "cluster.local.", Except: Zones{"in-addr.arpa."}}, {Zone: "in-addr.arpa.", Except: Zones{"in-addr.arpa."}}}, "in-addr.arpa."},
	}
	for _, tt := range tests {
		if got := strings.Join(Zones(strings.Fields(tt.zones)).Outside(tt.regions), " "); got != tt.want {
			t.Errorf("%s without %v: got %s, want %s", tt.zones, tt.regions, got, tt.want)
		}
	}
}

func TestLocate(t *testing.T) {
	tests := []struct {
		text string
		want Located
	}{
		{"plugin/cache: /etc/a b/Corefile:12 - Error during parsing: Wrong argument count", Located{"cache", Pos{"/etc/a b/Corefile", 12}, "Wrong argument count"}},
		{"Corefile:3 - Syntax error: Unexpected token '}'", Located{"", Pos{"Corefile", 3}, "Unexpected token '}'"}},
		{"plugin/cache: invalid value", Located{"cache", Pos{}, "invalid value"}},
		{"cannot serve dns://a.:53 - it is already defined (Corefile:4, first in Corefile:1)",
			Located{"", Pos{"Corefile", 4}, "cannot serve dns://a.:53 - it is already defined (Corefile:4, first in Corefile:1)"}},
		{"Corefile:99999999999999999999 - Error during parsing: x", Located{"", Pos{}, "x"}},
		{"nothing", Located{Text: "nothing"}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, Locate(errors.New(tt.text))); diff != "" {
			t.Errorf("%s: %s", tt.text, diff)
		}
	}
}

func TestLines(t *testing.T) {
	f, err := Parse("Corefile", []byte("a {\n  log x {\n    class error\n  }\n  errors\n  log {\n    log\n  }\n  log\n}\n"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := f.Blocks[0].Directive("log")
	if got := fmt.Sprint(d.Lines()); got != "[Corefile:2 Corefile:6 Corefile:9]" {
		t.Errorf("lines %s", got)
	}
	if got := fmt.Sprint(d.OnlyFirst(), d.OnlyLast()); got != "[no effect, as the first log of a server block counts (Corefile:6) "+
		"no effect, as the first log of a server block counts (Corefile:9)] [no effect, as the last log of a server block counts (Corefile:2) "+
		"no effect, as the last log of a server block counts (Corefile:6)]" {
		t.Errorf("got %s", got)
	}
	if a, b := d.Word(Pos{"Corefile", 3}), d.Word(Pos{"Corefile", 5}); a != "class" || b != "" {
		t.Errorf("words %q and %q", a, b)
	}
}

func TestZonesList(t *testing.T) {
	zones, _ := ParseZones([]string{"10.0.0.0/17"})
	for want, z := range map[string]Zones{"": nil, "a., b.": {"a.", "b."}} {
		if got := z.List(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := zones.List(); strings.Count(got, ", ") != 14 || !strings.HasSuffix(got, "and 113 more") {
		t.Errorf("got %q", got)
	}
}
