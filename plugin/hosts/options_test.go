package hosts_test

import (
	"fmt"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/plugin/hosts"
	"github.com/waypost/waypost/plugin/plugintest"
)

// parse reads a hosts directive of a block for example.org and 10.0.0.0/8.
func parse(t testing.TB, lines string) (hosts.Options, error) {
	t.Helper()
	block := plugintest.Block(t, "example.org 10.0.0.0/8 {\n"+lines+"\n}")
	return hosts.Parse(block, block.Directive("hosts"))
}

func TestParse(t *testing.T) {
	folder := t.TempDir()
	missing := filepath.Join(folder, "missing")
	block := config.Zones{"example.org.", "10.in-addr.arpa."}
	plain := func(change func(*hosts.Options)) hosts.Options {
		o := hosts.Options{Path: "/etc/hosts", Zones: block, TTL: 3600, Reload: 5 * time.Second}
		change(&o)
		return o
	}
	tests := []struct {
		lines string
		want  hosts.Options
	}{
		{"hosts", plain(func(*hosts.Options) {})},
		{"hosts " + missing + " A.example b", plain(func(o *hosts.Options) {
			o.Path, o.Zones, o.Warnings = missing, config.Zones{"a.example.", "b."}, []config.Warning{at(2).Warningf("File does not exist: %s", missing)}
		})},
		{"hosts " + folder, plain(func(o *hosts.Options) {
			o.Path, o.Warnings = folder, []config.Warning{at(2).Warningf("Hosts file %q is a directory", folder)}
		})},
		{"hosts /dev/null a..b c", plain(func(o *hosts.Options) {
			o.Path, o.Zones, o.Warnings = "/dev/null", config.Zones{"c."}, at(2).LeftOut([]string{"a..b"})
		})},
		{"hosts {\nttl 60 more\nreload 0s\nno_reverse\n10.0.0.1 a.example.org b\nfallthrough\nfallthrough_unsupported\n}", plain(func(o *hosts.Options) {
			o.TTL, o.Reload, o.NoReverse, o.Unsupported = 60, 0, true, true
			o.Inline, o.Fallthrough = []string{"10.0.0.1 a.example.org b"}, config.Zones{"."}
		})},
		{"hosts {\nfallthrough 10.0.0.0/7\n}", plain(func(o *hosts.Options) {
			o.Fallthrough = config.Zones{"10.in-addr.arpa.", "11.in-addr.arpa."}
		})},
		{"hosts {\nno_recursive\n::1 a\n}", plain(func(o *hosts.Options) {
			o.Inline = []string{"no_recursive", "::1 a"}
			o.Warnings = []config.Warning{at(3).Warningf("%q is neither an option nor an address, the line has no effect (did you mean no_reverse?)", "no_recursive")}
		})},
		{"hosts {\nfallthrough a..b\n::1 a\n}", plain(func(o *hosts.Options) {
			o.Inline, o.Warnings = []string{"::1 a"}, at(3).LeftOut([]string{"a..b"})
		})},
	}
	for _, tt := range tests {
		if got, err := parse(t, tt.lines); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q:\ngot  %+v, %v\nwant %+v", tt.lines, got, err, tt.want)
		}
	}
}

// at is a place in the Corefile.
func at(line int) config.Pos { return config.Pos{File: "Corefile", Line: line} }

func TestParseErrors(t *testing.T) {
	tests := []struct{ lines, want string }{
		{"hosts\nhosts", "Corefile:3 - Error during parsing: this plugin can only be used once per Server Block"},
		{"hosts /etc/passwd/x", "Corefile:2 - Error during parsing: unable to access hosts file '/etc/passwd/x': stat /etc/passwd/x: not a directory"},
		{"hosts {\nttl\n}", "Corefile:3 - Error during parsing: ttl needs a time in second"},
		{"hosts {\nttl 5s\n}", "Corefile:3 - Error during parsing: ttl needs a number of second"},
		{"hosts {\nttl 0\n}", "Corefile:3 - Error during parsing: ttl provided is invalid"},
		{"hosts {\nttl 65536\n}", "Corefile:3 - Error during parsing: ttl provided is invalid"},
		{"hosts {\nreload\n}", "Corefile:3 - Error during parsing: reload needs a duration (zero seconds to disable)"},
		{"hosts {\nreload 5\n}", "Corefile:3 - Error during parsing: invalid duration for reload '5'"},
		{"hosts {\nreload -5s\n}", "Corefile:3 - Error during parsing: invalid negative duration for reload '-5s'"},
		{"hosts {\nfallthrough\n10.0.0.1 a\n}", "Corefile:4 - Error during parsing: unknown property '10.0.0.1'"},
		{"hosts {\nfallthrough_unsupported\n}", "Corefile:4 - Error during parsing: fallthrough_unsupported requires fallthrough"},
		{"hosts {\nfallthrough\nfallthrough_unsupported x\n}", "Corefile:4 - Error during parsing: Wrong argument count or unexpected line ending after 'x'"},
	}
	for _, tt := range tests {
		if _, err := parse(t, tt.lines); fmt.Sprint(err) != tt.want {
			t.Errorf("%q:\ngot  %v\nwant %s", tt.lines, err, tt.want)
		}
	}
}
