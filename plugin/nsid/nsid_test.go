package nsid_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/nsid"
	"github.com/waypost/waypost/plugin/plugintest"
)

func TestParse(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	const once = "Corefile:3 - Error during parsing: this plugin can only be used once per Server Block"
	tests := []struct{ lines, name, err string }{
		{"nsid", host, ""},
		{"nsid a", "a", ""},
		{"nsid \"Use The Force\" Luke", "Use The Force Luke", ""},
		{"nsid a\nnsid a", "", once},
		{"nsid {\na\n}", "", "Corefile:2 - Error during parsing: this plugin can only be used once per Server Block"},
	}
	for _, tt := range tests {
		o, err := nsid.Parse(plugintest.Directive(t, tt.lines))
		if err != nil || tt.err != "" {
			if fmt.Sprint(err) != tt.err {
				t.Errorf("%q:\ngot  %v\nwant %s", tt.lines, err, tt.err)
			}
		} else if o.Name != tt.name {
			t.Errorf("%q: got %q, want %q", tt.lines, o.Name, tt.name)
		}
	}
}

func TestServe(t *testing.T) {
	tests := []struct {
		name    string
		options []dns.EDNS0 // nil sends no OPT
		want    string
	}{
		{"asked", []dns.EDNS0{&dns.EDNS0_NSID{Code: dns.EDNS0NSID}}, "here"},
		{"asked with data, behind another option", []dns.EDNS0{&dns.EDNS0_LOCAL{Code: 65001, Data: []byte("ab")}, &dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: "6869"}}, "here"},
		{"not asked", []dns.EDNS0{&dns.EDNS0_LOCAL{Code: 65001, Data: []byte{0, 3}}}, "none"},
		{"no EDNS", nil, "none"},
	}
	step := nsid.New(nsid.Options{Name: "here"})
	for _, tt := range tests {
		for _, fails := range []bool{false, true} {
			request := new(dns.Msg).SetQuestion("example.org.", dns.TypeA)
			if tt.options != nil {
				request.SetEdns0(1232, false).IsEdns0().Option = tt.options
			}
			q := plugintest.Query(t, request)
			r := plugintest.Begin(q)
			if v := step.Serve(q, r); v != message.Next {
				t.Errorf("%s: verdict %d", tt.name, v)
			}
			if fails {
				r.Fail(message.ServFail)
			}
			got := "none"
			if opt := plugintest.Message(t, r).IsEdns0(); opt != nil {
				for _, o := range opt.Option {
					name, err := hex.DecodeString(o.(*dns.EDNS0_NSID).Nsid)
					if err != nil {
						t.Fatal(err)
					}
					got = string(name)
				}
			}
			if got != tt.want {
				t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
			}
		}
	}
}
