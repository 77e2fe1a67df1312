package config

import (
	"strings"
	"testing"
)

func TestCheckListeners(t *testing.T) {
	// Each listener is a key and, after @, an address; a trailing * is a block with a view.
	for _, tt := range []struct{ name, listeners, want string }{
		{"one each", ". a:53 tls://. .:5353", ""},
		{"twice", ". a .", "cannot serve dns://.:53 - it is already defined (Corefile:3, first in Corefile:1)"},
		{"twice in another case", "a.ORG A.org", "cannot serve dns://a.org.:53 - it is already defined (Corefile:2, first in Corefile:1)"},
		{"different addresses", ".@10.0.0.1 .@10.0.0.2", ""},
		{"twice at one address", ".@10.0.0.1 .@10.0.0.1", "cannot serve dns://.:53 on 10.0.0.1 - it is already defined (Corefile:2, first in Corefile:1)"},
		{"bound, then not", ".@10.0.0.1 .", "cannot serve dns://.:53 - zone overlap listener capacity with dns://.:53 on 10.0.0.1 (Corefile:2 and Corefile:1)"},
		{"not bound, then bound", ". .@10.0.0.1", "cannot serve dns://.:53 on 10.0.0.1 - zone overlap listener capacity with dns://.:53 (Corefile:2 and Corefile:1)"},
		{"another zone bound", ". a@10.0.0.1", ""},
		{"view repeats a zone", ". .*", ""},
		{"view first", ".* .* .", ""},
		{"view bound", ". .@10.0.0.1*", "cannot serve dns://.:53 on 10.0.0.1 - zone overlap listener capacity with dns://.:53 (Corefile:2 and Corefile:1)"},
		{"view unbound", ".@10.0.0.1 .*", "cannot serve dns://.:53 - zone overlap listener capacity with dns://.:53 on 10.0.0.1 (Corefile:2 and Corefile:1)"},
	} {
		var listeners []Listener
		for i, text := range strings.Fields(tt.listeners) {
			text, view := strings.CutSuffix(text, "*")
			text, address, _ := strings.Cut(text, "@")
			keys, err := parseKey(text, Pos{"Corefile", i + 1}, 0)
			if err != nil {
				t.Fatal(err)
			}
			listeners = append(listeners, Listener{Key: keys[0], Address: address, View: view})
		}
		got := ""
		if err := CheckListeners(listeners); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}
