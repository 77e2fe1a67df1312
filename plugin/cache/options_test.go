package cache

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waypost/waypost/plugin/plugintest"
)

func parse(t testing.TB, header, lines string) (Options, error) {
	t.Helper()
	block := plugintest.Block(t, header+" {\n"+lines+"\n}\n")
	return Parse(block, block.Directive("cache"))
}

func TestParse(t *testing.T) {
	const defaults = "Zones:[.] Success:{Capacity:10000 Most:3600 Least:5 Except:[]} Denial:{Capacity:10000 Most:1800 Least:5 Except:[]} " +
		"ServFail:5s Prefetch:{Amount:0 Gap:1m0s Percent:10} Stale:{UpTo:0s Verify:false Timeout:0s TTL:0 Recheck:0s PreferPositive:false} KeepTTL:false Warnings:[]"
	for _, tt := range []struct{ lines, want string }{
		{"cache", defaults},
		{"cache 30", "Success:{Capacity:10000 Most:30 Least:5 Except:[]} Denial:{Capacity:10000 Most:30 Least:5 Except:[]}"},
		{"cache 600 .", "Zones:[.] Success:{Capacity:10000 Most:600"},
		{"cache example.org 10.0.0.0/8", "Zones:[example.org. 10.in-addr.arpa.] Success:{Capacity:10000 Most:3600"},
		{"cache 3600s", `Zones:[3600s.] Success:{Capacity:10000 Most:3600 Least:5 Except:[]} Denial:{Capacity:10000 Most:1800`},
		{"cache 3600s", `Warnings:["3600s" is taken for a zone: the TTL is a plain number of seconds (Corefile:2)]`},
		{"cache {\nsuccess 9984\ndenial 9984 30\n}", "Success:{Capacity:9984 Most:3600 Least:5 Except:[]} Denial:{Capacity:9984 Most:30 Least:5"},
		{"cache 300 {\nsuccess 10000 300 6\ndenial 0 10 0\n}", "Success:{Capacity:10000 Most:300 Least:6 Except:[]} Denial:{Capacity:0 Most:10 Least:0"},
		{"cache {\nprefetch 10\n}", "Prefetch:{Amount:10 Gap:1m0s Percent:10}"},
		{"cache {\nprefetch 10 300s 25%\n}", "Prefetch:{Amount:10 Gap:5m0s Percent:25}"},
		{"cache {\nserve_stale\n}", "Stale:{UpTo:1h0m0s Verify:false Timeout:0s TTL:0 Recheck:0s PreferPositive:false}"},
		{"cache {\nserve_stale 24h\n}", "Stale:{UpTo:24h0m0s Verify:false"},
		{"cache {\nserve_stale 1h immediate 30s 20s\n}", "Stale:{UpTo:1h0m0s Verify:false Timeout:0s TTL:30 Recheck:20s"},
		{"cache {\nserve_stale 1h verify\n}", "Stale:{UpTo:1h0m0s Verify:true Timeout:0s TTL:0"},
		{"cache {\nserve_stale 1h VERIFY 100ms 30s 20s\n}", "Stale:{UpTo:1h0m0s Verify:true Timeout:100ms TTL:30 Recheck:20s"},
		{"cache {\nserve_stale_policy prefer_positive\nserve_stale 1h\n}", "Stale:{UpTo:1h0m0s Verify:false Timeout:0s TTL:0 Recheck:0s PreferPositive:true}"},
		{"cache {\nservfail 0s\n}", "ServFail:0s"},
		{"cache {\nservfail 10s\n}", "ServFail:10s"},
		{"cache {\ndisable success\ndisable denial cluster.local a.b\n}", "Success:{Capacity:10000 Most:3600 Least:5 Except:[.]} Denial:{Capacity:10000 Most:1800 Least:5 Except:[cluster.local. a.b.]}"},
		{"cache {\nkeepttl\n}", "KeepTTL:true"},
	} {
		o, err := parse(t, ".:53", tt.lines)
		if got := fmt.Sprintf("%+v", o); err != nil || !strings.Contains(got, tt.want) {
			t.Errorf("%q: no %s in\n%s, %v", tt.lines, tt.want, got, err)
		}
	}
	if o, _ := parse(t, "a.example:53 b.example:53", "cache 30"); fmt.Sprint(o.Zones) != "[a.example. b.example.]" {
		t.Errorf("zones %v", o.Zones)
	}
}

func TestParseErrors(t *testing.T) {
	block := func(line string) string { return "cache {\n" + line + "\n}" }
	const at3 = "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after "
	for _, tt := range []struct{ lines, want string }{
		{"cache\ncache", "this plugin can only be used once per Server Block"},
		{"cache 0", "cache TTL can not be zero or negative: 0"},
		{"cache -1 example.org", "cache TTL can not be zero or negative: -1"},
		{block("success"), at3 + "'success'"},
		{block("success many"), `strconv.Atoi: parsing "many": invalid syntax`},
		{block("success 10 0"), "cache TTL can not be zero or negative: 0"},
		{block("success 10 x"), `strconv.Atoi: parsing "x": invalid syntax`},
		{block("denial 10 5 -1"), "cache min TTL can not be negative: -1"},
		{block("denial 10 5 x"), `strconv.Atoi: parsing "x": invalid syntax`},
		{block("prefetch"), at3 + "'prefetch'"},
		{block("prefetch 1 2s 10% x"), at3 + "'x'"},
		{block("prefetch -1"), "prefetch amount should be positive: -1"},
		{block("prefetch 1 2"), `time: missing unit in duration "2"`},
		{block("prefetch 1 2s 10"), "last character of percentage should be `%`, but is: '0'"},
		{block("prefetch 1 2s x%"), `strconv.Atoi: parsing "x": invalid syntax`},
		{block("prefetch 1 2s 95%"), "percentage should fall in range [10, 90]: 95"},
		{block("serve_stale 1h verify 1s 1s 1s 1s"), at3 + "'1s'"},
		{block("serve_stale 1h immediate 1s 1s 1s"), at3 + "'1s'"},
		{block("serve_stale x"), `time: invalid duration "x"`},
		{block("serve_stale -1h"), "invalid negative duration for serve_stale"},
		{block("serve_stale 1h later"), "invalid value for serve_stale refresh mode: later"},
		{block("serve_stale 1h verify x"), `invalid serve_stale verify timeout: time: invalid duration "x"`},
		{block("serve_stale 1h verify -1s"), "invalid negative timeout for serve_stale verify"},
		{block("serve_stale 1h immediate x"), `invalid serve_stale response TTL: time: invalid duration "x"`},
		{block("serve_stale 1h immediate -1s"), "invalid negative response TTL for serve_stale"},
		{block("serve_stale 1h immediate 1500ms"), "serve_stale response TTL must be a whole number of seconds"},
		{block("serve_stale 1h immediate 2000000h"), "serve_stale response TTL exceeds the DNS TTL range"},
		{block("serve_stale 1h immediate 1s x"), `invalid serve_stale failure recheck: time: invalid duration "x"`},
		{block("serve_stale 1h immediate 1s -1s"), "invalid negative failure recheck for serve_stale"},
		{block("serve_stale 1h immediate 1s 6m"), "serve_stale failure recheck cannot exceed 5 minutes"},
		{block("serve_stale_policy prefer_positive"), "serve_stale_policy requires serve_stale"},
		{block("serve_stale\nserve_stale_policy prefer_positive\nserve_stale_policy prefer_positive"), "serve_stale_policy can only be specified once"},
		{block("serve_stale\nserve_stale_policy x"), "invalid serve_stale_policy: x"},
		{block("serve_stale_policy"), at3 + "'serve_stale_policy'"},
		{block("servfail"), at3 + "'servfail'"},
		{block("servfail x"), `time: invalid duration "x"`},
		{block("servfail -1s"), "invalid negative ttl for servfail"},
		{block("servfail 6m"), "caching SERVFAIL responses over 5 minutes is not permitted"},
		{block("disable"), at3 + "'disable'"},
		{block("disable everything"), `cache type for disable must be "success" or "denial"`},
		{block("disable success a..b"), "invalid disabled zone: a..b"},
		{block("keepttl yes"), at3 + "'yes'"},
		{block("ttl 5"), at3 + "'ttl'"},
	} {
		if _, err := parse(t, ".:53", tt.lines); fmt.Sprint(err) != tt.want {
			t.Errorf("%q:\ngot  %v\nwant %s", tt.lines, err, tt.want)
		}
	}
}
