package e2e

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// skydnsValues are SkyDNS records: by name relative to a zone, with ZONE for that, the values. A name's labels stand in the
// order of keys, the last first. Most are as external-dns writes them, some are wrong in one way or another.
var skydnsValues = map[string]string{
	"www/1a2b3c4d": `{"host":"203.0.113.1","ttl":60,"targetstrip":1}`, "www/5e6f7a8b": `{"host":"203.0.113.2","targetstrip":1}`,
	"www/9c0d1e2f": `{"host":"2001:db8::1","ttl":1,"targetstrip":1}`, "www/txt": `{"text":"heritage=external-dns,external-dns/owner=me","targetstrip":1}`,
	"plain": `{"host":"203.0.113.3"}`, "plain6": `{"host":"2001:db8::3","ttl":2147483647}`, "both": `{"host":"203.0.113.4","text":"both"}`,
	"named-text": `{"host":"www.ZONE","text":"named"}`, "only-text": `{"text":"alone","ttl":30}`, "empty": `{}`, "null": `null`,
	"hidden": `{"host":"203.0.113.5"}`, "hidden/below": `{"host":"203.0.113.6"}`, "hid": `{"host":"203.0.113.7"}`,
	"same/a": `{"host":"203.0.113.8","ttl":10}`, "same/b": `{"host":"203.0.113.8","ttl":20}`, "same/c": `{"text":"twice"}`, "same/d": `{"text":"twice","ttl":5}`,
	"deep/a/b/c/d/e": `{"host":"203.0.113.9"}`, "deep/a/b/c": `{"host":"203.0.113.10"}`, "deep/x": `{"text":"deep"}`,

	"alias": `{"host":"plain.ZONE","ttl":40}`, "alias-case": `{"host":"PLAIN.Zone."}`, "alias-many": `{"host":"www.ZONE"}`, "alias-below/x": `{"host":"plain.ZONE"}`,
	"alias-mixed/a": `{"host":"plain.ZONE"}`, "alias-mixed/b": `{"host":"203.0.113.11"}`, "alias-none": `{"host":"nosuch.ZONE"}`, "alias-self": `{"host":"alias-self.ZONE"}`,
	"alias-down": `{"host":"x.alias-down.ZONE"}`, "alias-text": `{"host":"only-text.ZONE"}`, "alias-apex": `{"host":"ZONE"}`, "alias-wild": `{"host":"*.deep.ZONE"}`,
	"alias-broken": `{"host":"broken.ZONE"}`, "circle-1": `{"host":"circle-2.ZONE"}`, "circle-2": `{"host":"circle-1.ZONE"}`,
	"out": `{"host":"www.out.example"}`, "out-alias": `{"host":"alias.out.example"}`, "out-none": `{"host":"nosuch.out.example"}`, "out-nowhere": `{"host":"www.example.invalid"}`,
	"out-mixed/a": `{"host":"www.out.example"}`, "out-mixed/b": `{"host":"203.0.113.12"}`, "out-mixed/c": `{"host":"plain.ZONE"}`, "out-loop": `{"host":"back.out.example"}`,

	"_tcp/_http/a": `{"host":"203.0.113.13","port":80,"priority":10,"weight":1}`, "_tcp/_http/b": `{"host":"203.0.113.14","port":80,"priority":10,"weight":3}`,
	"_tcp/_http/c": `{"host":"203.0.113.15","port":8080,"priority":20}`, "_tcp/_http/d": `{"host":"www.ZONE","port":81,"priority":30,"weight":7}`,
	"_tcp/_http/e": `{"host":"www.ZONE","port":82,"priority":30}`, "_tcp/_http/f": `{"host":"www.out.example","port":83,"priority":65535,"weight":65535}`,
	"_tcp/_http/g": `{"host":"203.0.113.16","port":-1}`, "_tcp/_http/h": `{"host":"2001:db8::16","port":84,"targetstrip":1}`,
	"_tcp/_odd/a": `{"host":"203.0.113.17","port":70000,"priority":70000,"weight":1}`, "_tcp/_odd/b": `{"host":"203.0.113.18","port":1,"priority":70000,"weight":999}`,
	"_tcp/_strip/a/b/c": `{"host":"203.0.113.19","port":1,"targetstrip":2}`, "_tcp/_strip/d": `{"host":"a.b.www.ZONE","port":1,"targetstrip":2}`, "_tcp/_strip/e": `{"host":"203.0.113.20","port":1,"targetstrip":40}`,
	"mx/a": `{"host":"203.0.113.21","mail":true,"priority":5}`, "mx/b": `{"host":"www.ZONE","mail":true}`, "mx/c": `{"host":"www.out.example","mail":true,"priority":50}`,
	"mx/d": `{"host":"203.0.113.22"}`, "mx/e": `{"host":"203.0.113.23","mail":true,"targetstrip":1}`, "mx/f": `{"host":"alias.ZONE","mail":true,"text":"and text"}`,

	"g/a": `{"host":"203.0.113.24","group":"g1"}`, "g/b": `{"host":"203.0.113.25","group":"g1"}`, "g/c/d": `{"host":"203.0.113.26","group":"g2"}`, "g/e": `{"host":"203.0.113.27"}`,
	"g-differ/a": `{"host":"203.0.113.28","group":"g1"}`, "g-differ/b": `{"host":"203.0.113.29","group":"g2"}`, "g-late/a/b": `{"host":"203.0.113.30","group":"g1"}`, "g-late/c": `{"host":"203.0.113.31","group":"g2"}`,
	"g-none/a/b": `{"host":"203.0.113.32","group":"g1"}`, "g-none/c": `{"host":"203.0.113.33"}`, "g-none/d/e": `{"host":"203.0.113.34","group":"g2"}`,

	"wild/*": `{"host":"203.0.113.35"}`, "east/prod/a": `{"host":"203.0.113.36"}`, "east/test/b": `{"host":"203.0.113.37"}`, "west/prod/c": `{"host":"203.0.113.38"}`,
	"dns/ns/n1": `{"host":"203.0.113.53"}`, "dns/ns/n2": `{"host":"2001:db8::53","ttl":5}`, "dns/ns/n3": `{"host":"203.0.113.54","targetstrip":1}`, "dns/ns/n4": `{"host":"203.0.113.55","targetstrip":1}`,
	"dns/apex/x1": `{"host":"203.0.113.80","ttl":60}`, "dns/apex/x2": `{"host":"2001:db8::80"}`, "dns/apex/x3": `{"host":"alias.ZONE"}`,

	"broken": `{"host":`, "broken-below/a": `{"host":"203.0.113.39"}`, "broken-below/b": `no JSON`, "wrong-type": `{"host":"203.0.113.40","port":"80"}`, "wrong-ttl": `{"host":"203.0.113.41","ttl":-1}`,
	"extra": `{"HOST":"203.0.113.42","unknown":{"a":[1]}}`, "escaped": `{"host":"203.0.113.43","text":"a\\b \"c\" \u00e9 \u0001"}`, "text-escapes": `{"text":"a\\b \\065 \"c\" \u00e9 \u0001"}`,
	"host-odd": `{"host":"under_score.ZONE"}`, "host-space": `{"host":"a b.out.example"}`, "host-utf8": `{"host":"\u00e9.out.example"}`, "v4-mapped": `{"host":"::ffff:203.0.113.44"}`, "zeros": `{"host":"203.0.113.044"}`,
	"slash/": `{"host":"203.0.113.45"}`, "UPPER": `{"host":"203.0.113.47"}`, "dot.ted": `{"host":"203.0.113.48"}`,
}

// skydns are the records of a zone, by key below a path, with long texts, a chain of aliases and many addresses.
func skydns(path, zone string) map[string][]byte {
	all := map[string]string{}
	for name, value := range skydnsValues {
		all[name] = value
	}
	for _, length := range []int{254, 255, 256, 509, 510, 511, 2000} {
		all[fmt.Sprintf("text-%d", length)] = fmt.Sprintf(`{"text":%q}`, strings.Repeat("x", length))
	}
	for i := range 14 {
		all[fmt.Sprintf("chain-%d", i)] = fmt.Sprintf(`{"host":"chain-%d.ZONE"}`, i+1)
	}
	all["chain-14"] = `{"host":"203.0.113.49"}`
	for i := range 120 {
		all[fmt.Sprintf("many/%d", i)] = fmt.Sprintf(`{"host":"198.51.100.%d","port":%d}`, i, i)
	}
	values := map[string][]byte{}
	for name, value := range all {
		values[skydnsKey(path, zone)+"/"+name] = []byte(strings.ReplaceAll(value, "ZONE", strings.TrimSuffix(zone, ".")))
	}
	return values
}

// skydnsKey is where the records of a name are.
func skydnsKey(path, name string) string {
	labels := dns.SplitDomainName(name)
	slices.Reverse(labels)
	return "/" + strings.Join(append([]string{path}, labels...), "/")
}

// skydnsNames are the names that the records of a zone have, those between and below, patterns, and names that do not exist.
func skydnsNames(zone string) []string {
	names := []string{zone, "nosuch." + zone, "a.nosuch." + zone, "*." + zone, "any." + zone, "*.*." + zone, "dns." + zone, "_tcp." + zone}
	for key := range skydns("p", zone) {
		relative := strings.TrimPrefix(key, skydnsKey("p", zone)+"/")
		labels := strings.FieldsFunc(relative, func(r rune) bool { return r == '/' })
		slices.Reverse(labels)
		if len(labels) == 2 && labels[1] == "many" && labels[0] != "7" {
			continue
		}
		name := strings.Join(labels, ".") + "." + zone
		names = append(names, name, "x."+name, "*."+name)
		for i := 1; i < len(labels); i++ {
			above := strings.Join(labels[i:], ".") + "." + zone
			names = append(names, above, "*."+above, "nosuch."+above, strings.Join(labels[:i], ".")+".any."+strings.Join(labels[min(i+1, len(labels)):], ".")+"."+zone)
		}
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool {
		_, ok := dns.IsDomainName(name)
		return !ok || strings.Contains(name, "..")
	})
}
