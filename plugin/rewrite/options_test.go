package rewrite_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waypost/waypost/plugin/plugintest"
	"github.com/waypost/waypost/plugin/rewrite"
)

// TestParseErrors has CoreDNS's words, behind file and line, which CoreDNS leaves out.
func TestParseErrors(t *testing.T) {
	long := strings.Repeat("x", 10001)
	tests := []struct{ lines, want string }{
		{"rewrite", "no rule type specified for rewrite"},
		{"rewrite stop", "stop rule must begin with a rule type"},
		{"rewrite continue", "continue rule must begin with a rule type"},
		{"rewrite foo bar", `invalid rule type "foo"`},
		{"rewrite stop foo bar", `invalid rule type "stop"`},
		{"rewrite answer name a", "response rewrites must begin with a name rule"},
		{"rewrite name a", "too few arguments for a name rule"},
		{"rewrite name stop a b", "name rule supports only exact, prefix, suffix, substring, and regex name matching, received: stop"},
		{"rewrite name foo a b", "name rule supports only exact, prefix, suffix, substring, and regex name matching, received: foo"},
		{"rewrite class IN", "class rules must have exactly two arguments"},
		{"rewrite class IN CH IN", "class rules must have exactly two arguments"},
		{"rewrite class IN FOO", `invalid class "FOO"`},
		{"rewrite type A foo", `invalid type "FOO"`},
		{"rewrite type A AAAA x", "type rules must have exactly two arguments"},
		{"rewrite name regex ( b", "invalid regex matching pattern: ("},
		{"rewrite name regex a {1}b", "the rewrite regex pattern ({1}b) uses more subexpressions than its corresponding matching regex pattern (a)"},
		{"rewrite name regex (a) {0}{1}b", "the rewrite regex pattern ({0}{1}b) uses more subexpressions than its corresponding matching regex pattern ((a))"},
		{"rewrite name exact a b(", "invalid regex matching pattern: b(."},
		{"rewrite name exact a{1} b", "the rewrite regex pattern (a{1}.) uses more subexpressions than its corresponding matching regex pattern (b.)"},
		{"rewrite name suffix a b answer", "invalid arguments for suffix rule"},
		{"rewrite name suffix a b foo auto", "exceeded the number of arguments for a non-answer rule argument for suffix rule"},
		{"rewrite name suffix a b answer foo", `invalid type "foo" for answer rule for suffix rule`},
		{"rewrite name suffix a b answer name x", "name answer rule for suffix rule: 2 arguments required"},
		{"rewrite name suffix a b answer name ( y", "name answer rule for suffix rule: invalid regex matching pattern: ("},
		{"rewrite name suffix a b answer name (a) {1}{2}", "name answer rule for suffix rule: the rewrite regex pattern ({1}{2}) uses more subexpressions than its corresponding matching regex pattern ((a))"},
		{"rewrite name suffix a b answer auto answer name a b", "auto name answer rule cannot be combined with explicit name anwer rules"},
		{"rewrite name suffix a b answer name a b answer", "type missing for answer rule for suffix rule"},
		{"rewrite name exact a b metadata", "metadata is only supported for regex name rules"},
		{"rewrite edns0", "too few arguments for an EDNS0 rule"},
		{"rewrite edns0 local", "too few arguments for an EDNS0 rule"},
		{"rewrite edns0 local foo", `invalid action: "foo"`},
		{"rewrite edns0 foo set", `invalid rule type "foo"`},
		{"rewrite edns0 foo unset", `invalid rule type "foo"`},
		{"rewrite edns0 local set", "EDNS0 local rules require three or four args"},
		{"rewrite edns0 local set revert", "EDNS0 local rules require three or four args"},
		{"rewrite edns0 local set 1", "EDNS0 local rules require three or four args"},
		{"rewrite edns0 local set x abc", `strconv.ParseUint: parsing "x": invalid syntax`},
		{"rewrite edns0 local set 70000 abc", `strconv.ParseUint: parsing "70000": value out of range`},
		{"rewrite edns0 local set 0xffee 0xabc", "encoding/hex: odd length hex string"},
		{"rewrite edns0 local set 0xffee {foo}", `unsupported variable name "{foo}"`},
		{"rewrite edns0 local unset", "local unset action requires exactly two arguments"},
		{"rewrite edns0 local unset x", `strconv.ParseUint: parsing "x": invalid syntax`},
		{"rewrite edns0 nsid set 1", "EDNS0 NSID rules can accept no more than one arg"},
		{"rewrite edns0 nsid unset 1", "nsid unset action requires exactly one argument"},
		{"rewrite edns0 subnet set 24", "EDNS0 subnet rules require three or four args"},
		{"rewrite edns0 subnet set x 24", `strconv.ParseUint: parsing "x": invalid syntax`},
		{"rewrite edns0 subnet set 24 x", `strconv.ParseUint: parsing "x": invalid syntax`},
		{"rewrite edns0 subnet set 33 24", "invalid IPv4 bit mask length 33"},
		{"rewrite edns0 subnet set 24 129", "invalid IPv6 bit mask length 129"},
		{"rewrite edns0 subnet unset 1", "subnet unset action requires exactly one argument"},
		{"rewrite ttl a", "too few (1) arguments for a ttl rule"},
		{"rewrite ttl a b", "invalid TTL 'b' for a ttl rule"},
		{"rewrite ttl a -", "invalid TTL '-' for a ttl rule"},
		{"rewrite ttl a 5-3", "invalid TTL '5-3' for a ttl rule"},
		{"rewrite ttl a 5-3-4", "invalid TTL '5-3-4' for a ttl rule"},
		{"rewrite ttl a 99999999999", "invalid TTL '99999999999' for a ttl rule"},
		{"rewrite ttl exact a 5 6", "invalid TTL '' for a ttl rule"},
		{"rewrite ttl foo a 5", "ttl rule supports only exact, prefix, suffix, substring, and regex name matching"},
		{"rewrite ttl regex ( 5", "invalid regex pattern in a ttl rule: ("},
		{"rewrite rcode a", "too few (1) arguments for a rcode rule"},
		{"rewrite rcode a b", "too few (2) arguments for a rcode rule"},
		{"rewrite rcode a b c", "invalid matching RCODE 'b' for a rcode rule"},
		{"rewrite rcode a 2 c", "invalid replacement RCODE 'c' for a rcode rule"},
		{"rewrite rcode a 24 2", "invalid matching RCODE '24' for a rcode rule"},
		{"rewrite rcode exact a 2 3 4", "invalid matching RCODE '' for a rcode rule"},
		{"rewrite rcode foo a 2 3", "rcode rule supports only exact, prefix, suffix, substring, and regex name matching"},
		{"rewrite rcode regex ( 2 3", "invalid regex pattern in a rcode rule: ("},
		{"rewrite cname a", "too few (1) arguments for a cname rule"},
		{"rewrite cname exact a b c", "too few (4) arguments for a cname rule"},
		{"rewrite cname foo a b", "unknown cname rewrite type: foo"},
		{"rewrite cname regex ( b", "invalid cname rewrite regex pattern: error parsing regexp: missing closing ): `(`"},
		{"rewrite stop {\n}", "stop rule must begin with a rule type"},
		{"rewrite name regex (a) b metadata", "metadata is not supported by Waypost yet: leave it out, no directive here has any"},
		{"rewrite edns0 local set 0xffee {a/b}", "metadata is not supported by Waypost yet: leave {a/b} out, no directive here has any"},
		{"rewrite name regex " + long + " b", "regex pattern too long: 10001 > 10000"},
		{"rewrite ttl regex " + long + " 5", "regex pattern too long in a ttl rule: 10001 > 10000"},
		{"rewrite rcode regex " + long + " 2 3", "regex pattern too long in a rcode rule: 10001 > 10000"},
		{"rewrite cname regex " + long + " b", "regex pattern too long in a cname rule: 10001 > 10000"},
	}
	for _, tt := range tests {
		want := "Corefile:2 - Error during parsing: " + tt.want
		if _, err := rewrite.Parse(plugintest.Directive(t, tt.lines)); fmt.Sprint(err) != want {
			t.Errorf("%.50q:\ngot  %v\nwant %s", tt.lines, err, want)
		}
	}
	_, err := rewrite.Parse(plugintest.Directive(t, "rewrite name a b\nrewrite stop {\nname a\n}"))
	if want := "Corefile:3 - Error during parsing: too few arguments for a name rule"; fmt.Sprint(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
