package plugin_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waypost/waypost/config"
)

// TestTraps: what is legal and surely not meant, one row each; what looks like it and is meant has no warning.
func TestTraps(t *testing.T) {
	folder := t.TempDir()
	resolv, circle := filepath.Join(folder, "resolv.conf"), filepath.Join(folder, "circle.conf")
	write(t, resolv, "nameserver 192.0.2.53\n")
	write(t, circle, "search a\nnameserver 127.0.0.1\n")
	end := " has no last resort: what no directive answers under "
	tests := []struct {
		corefile string
		want     []string
	}{
		{". {\ncache 3600s\nwhoami\n}", []string{`cache: "3600s" is taken for a zone: the TTL is a plain number of seconds (Corefile:2)`}},
		{"a. {\ncache 3600s\nwhoami\n}", []string{
			`cache: "3600s" is taken for a zone: the TTL is a plain number of seconds (Corefile:2)`,
			"cache: no effect, as server block dns://a.:53 is never asked for names under 3600s. (Corefile:2)"}},
		{". {\ncache 3600\nwhoami\n}", nil},
		{"a. {\ncache 30 b.a .\nwhoami\n}", nil},

		{". {\nlog stdout\nwhoami\n}", []string{
			`log: "stdout" is taken for a name: only queries under it are printed, on standard output in any case; write log alone (Corefile:2)`}},
		{". {\nlog /var/log/dns {combined}\nwhoami\n}", []string{
			`log: "/var/log/dns" is taken for a name: only queries under it are printed, on standard output in any case; write log alone (Corefile:2)`}},
		{"a. {\nlog b.\nwhoami\n}", []string{"log: no effect, as server block dns://a.:53 is never asked for names under b. (Corefile:2)"}},
		{". {\nlog a. b.\nlog . {combined}\nerrors stdout\nwhoami\n}", nil},
		{"apps. {\nrewrite name suffix .apps .example answer auto\ncache 30 example\nforward example 192.0.2.1\nwhoami\n}", nil},
		{"apps. {\nautopath " + resolv + "\nforward example 192.0.2.1\nwhoami\n}", nil},
		{"apps. {\nlog example\nrewrite name suffix .apps .example answer auto\nwhoami\n}", []string{
			"log: no effect, as server block dns://apps.:53 is never asked for names under example. (Corefile:2)"}},
		{"apps. {\nrewrite type ANY A\nrewrite cname exact a.example b.example\ncache 30 example\nwhoami\n}", []string{
			"cache: no effect, as server block dns://apps.:53 is never asked for names under example. (Corefile:4)"}},

		{". {\nautopath @kubernetes\nwhoami\n}", []string{
			"autopath: no effect, as server block dns://.:53 (Corefile:1) has no kubernetes directive (Corefile:2)"}},
		{". {\nautopath @kubernetes\nkubernetes {\nmanifests " + folder + "\n}\n}", []string{
			`autopath: no effect, as kubernetes in server block dns://.:53 (Corefile:1) has no "pods verified" (Corefile:2)`}},

		{". {\nhosts /dev/null {\nno_recursive\nfallthrough\n}\nwhoami\n}", []string{
			`hosts: "no_recursive" is neither an option nor an address, the line has no effect (did you mean no_reverse?) (Corefile:3)`}},
		{". {\nhosts /dev/null\nwhoami\n}", []string{
			"hosts: names that are not there are SERVFAIL, and whoami is never asked for them: add fallthrough (Corefile:2)"}},
		{". {\nhosts /dev/null\n}", []string{":  server block dns://.:53" + end + ". is SERVFAIL; add forward, or a template that says NXDOMAIN (Corefile:1)"}},

		{"a. {\nerrors\n}", []string{":  server block dns://a.:53" + end + "a. is SERVFAIL; add forward, or a template that says NXDOMAIN (Corefile:1)"}},
		{"a. {\nbind 127.0.0.1\n}", []string{":  server block dns://a.:53 has no directive that answers: every query is REFUSED (Corefile:1)"}},
		{"a. {\ntemplate IN A {\nanswer \"{{.Name}} A 192.0.2.1\"\n}\n}", []string{
			":  server block dns://a.:53" + end + "a. is SERVFAIL; add forward, or a template that says NXDOMAIN (Corefile:1)"}},
		{"a. {\ntemplate IN ANY {\nrcode NXDOMAIN\n}\n}", nil},
		{"cluster.local in-addr.arpa {\nkubernetes {\nmanifests " + folder + "\nfallthrough in-addr.arpa\n}\n}", []string{
			":  server block dns://cluster.local.:53" + end + "in-addr.arpa. is SERVFAIL; add forward, or a template that says NXDOMAIN (Corefile:1)"}},
		{"cluster.local in-addr.arpa {\nkubernetes {\nmanifests " + folder + "\n}\n}", nil},
		{". {\nkubernetes cluster.local {\nmanifests " + folder + "\nfallthrough\n}\nforward . " + resolv + "\n}", nil},
		{". {\nforward . 192.0.2.1 {\nexcept a.\n}\n}", []string{
			":  server block dns://.:53" + end + "a. is SERVFAIL; add forward, or a template that says NXDOMAIN (Corefile:1)"}},
		{". {\nforward a. 192.0.2.1\nforward . 192.0.2.2\n}", nil},

		{". {\ntemplate ANY AAAA {\nrcode NXDOMAIN\n}\nwhoami\n}", []string{
			"template: NXDOMAIN says that the name has nothing of any type, so that some clients do not look for its other addresses either: " +
				"say rcode NOERROR to turn off AAAA alone (Corefile:2)"}},
		{". {\ntemplate ANY AAAA {\nrcode NOERROR\n}\nwhoami\n}", nil},

		{". {\nforward . 127.0.0.1\n}", []string{
			"forward: queries may go in a circle: 127.0.0.1:53 leads back to dns://:53 of this server, unless another one is asked there (Corefile:2)"}},
		{". {\nforward . " + circle + "\n}", []string{
			"forward: queries may go in a circle: 127.0.0.1:53, which " + circle + " names, leads back to dns://:53 of this server, unless another one is asked there (Corefile:2)"}},
		{". {\nbind 192.0.2.9\nforward . 192.0.2.9 192.0.2.8\n}", []string{
			"forward: queries may go in a circle: 192.0.2.9:53 leads back to dns://192.0.2.9:53 of this server, unless another one is asked there (Corefile:3)"}},
		{". {\nforward a. 127.0.0.1\nforward . 192.0.2.1\n}\na. {\nwhoami\n}", nil},
		{". {\nforward . 127.0.0.1:5301 tls://127.0.0.1\n}\n.:5301 {\nforward . 192.0.2.1\n}", nil},

		{". {\nhealth :8080\nready :8080\nwhoami\n}", []string{
			"health: :8080 is the address of ready too (Corefile:3): by chance half of the requests come to the wrong one (Corefile:2)"}},
		{". {\nhealth\nready\nprometheus :9153\nwhoami\n}\na. {\nhealth\nready\nprometheus :9153\nwhoami\n}", nil},
		{".  {\nview a {\nexpr type()\nexpr do()\n}\nwhoami\n}", []string{
			"view: type() is never true, so that the server block is never asked: it is a string (Corefile:3)"}},
		{". {\nwhoami\n}\n. a. {\nview a\nwhoami\n}", []string{
			"view: no query for . at dns://:53 comes here, as server block dns://.:53 (Corefile:1) takes all of them: a server block without a view stands behind those with one (Corefile:5)"}},
		{". {\nview a\nwhoami\n}\n. {\nview b\nwhoami\n}\n. {\nwhoami\n}\n.:54 {\nwhoami\n}\n", nil},
		{". {\nview a {\nexpr client_ip() == '127.0.0.1'\n}\nwhoami\n}\n. {\nforward . 127.0.0.1\n}", nil},

		{". {\nbufsize 512\nbufsize 1232\nwhoami\n}", []string{"bufsize: no effect, as the first bufsize of a server block counts (Corefile:3)"}},
		{". {\nchaos a\nchaos b\nwhoami\n}", []string{"chaos: no effect, as the first chaos of a server block counts (Corefile:3)"}},
		{". {\nautopath " + resolv + "\nautopath a " + resolv + "\nwhoami\n}", []string{"autopath: no effect, as the last autopath of a server block counts (Corefile:2)"}},
	}
	for _, tt := range tests {
		file, err := config.Parse("Corefile", []byte(tt.corefile), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		c, _ := compiler(t)
		checked := c.Check(file)
		if len(checked.Errors) > 0 {
			t.Errorf("%q: %v", tt.corefile, checked.Errors)
		}
		var got []string
		for _, w := range checked.Warnings {
			text := w.Directive + ": " + w.String()
			if w.Directive == "" {
				text = ":  " + w.String()
			}
			got = append(got, text)
		}
		if g, w := strings.Join(got, "\n"), strings.Join(tt.want, "\n"); g != w {
			t.Errorf("%q:\ngot  %s\nwant %s", tt.corefile, g, w)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestDidYouMean: a misspelt directive or option is told from one that is not there.
func TestDidYouMean(t *testing.T) {
	tests := []struct{ corefile, want string }{
		{". {\nkubernets\n}", "Corefile:2 - Error during parsing: Unknown directive 'kubernets' (did you mean kubernetes?)"},
		{". {\ncahce 30\n}", "Corefile:2 - Error during parsing: Unknown directive 'cahce' (did you mean cache?)"},
		{". {\ncache {\nsucess 100\n}\n}", "plugin/cache: Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after 'sucess' (did you mean success?)"},
		{". {\nforward . 192.0.2.1 {\nforcetcp\n}\n}", "plugin/forward: Corefile:3 - Error during parsing: unknown property 'forcetcp' (did you mean force_tcp?)"},
		{". {\nkubernetes cluster.local {\nfalltrough\n}\n}", "plugin/kubernetes: Corefile:3 - Error during parsing: unknown property 'falltrough' (did you mean fallthrough?)"},
		{". {\nforward . 192.0.2.1 {\npolicy\n}\n}", "plugin/forward: Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after 'policy'"},
		{". {\nhealth {\nlameduk 5s\n}\n}", "plugin/health: Corefile:3 - Error during parsing: unknown property 'lameduk' (did you mean lameduck?)"},
	}
	for _, tt := range tests {
		if _, _, err := compile(t, tt.corefile); err == nil || err.Error() != tt.want {
			t.Errorf("\ngot  %v\nwant %s", err, tt.want)
		}
	}
}

// TestCheckFindsAll: Compile says the first error, and Check all of them.
func TestCheckFindsAll(t *testing.T) {
	const text = "a. {\nlog {\nx\n}\ncache 0\n}\nb. {\nbind x\n}\na. {\nwhoami\n}"
	file, err := config.Parse("Corefile", []byte(text), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, _ := compiler(t)
	checked := c.Check(file)
	var got []string
	for _, err := range checked.Errors {
		got = append(got, err.Error())
	}
	want := `plugin/bind: Corefile:8 - Error during parsing: not a valid IP address or interface name: "x"
plugin/log: Corefile:3 - Error during parsing: unknown property 'x'
plugin/cache: Corefile:5 - Error during parsing: cache TTL can not be zero or negative: 0`
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
	if _, _, err := compile(t, text); err == nil || err.Error() != got[0] {
		t.Errorf("the start says %v", err)
	}
}
