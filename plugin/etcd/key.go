package etcd

import (
	"path"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// key is where the records of a name stand: below the path, the labels from the last to the first. A name "www.example.org."
// has /skydns/org/example/www.
func key(name, prefix string) string { return join(prefix, labels(name)) }

// root is the key that all others are below.
func root(prefix string) string { return join(prefix, nil) }

// pattern is what a name with a label "*" or "any" stands for: any keys below the one that is returned, which ends before
// the first such label, that match what key says of the name. ok is false for other names.
func pattern(name, prefix string) (above string, ok bool) {
	list := labels(name)
	at := slices.IndexFunc(list, anything)
	if at < 0 {
		return "", false
	}
	return join(prefix, list[:at]), true
}

// matches reports whether a key is one that a name with such labels stands for, or below one.
func matches(found, pattern string) bool {
	have, want := strings.Split(found, "/"), strings.Split(pattern, "/")
	if len(have) < len(want) {
		return false
	}
	for i, label := range want {
		if !anything(label) && have[i] != label {
			return false
		}
	}
	return true
}

func anything(label string) bool { return label == "*" || label == "any" }

// labels are those of a name, the last first.
func labels(name string) []string {
	list := dns.SplitDomainName(name)
	slices.Reverse(list)
	return list
}

func join(prefix string, labels []string) string {
	return path.Join(append([]string{"/" + prefix + "/"}, labels...)...)
}

// domain is the name of a key. As in CoreDNS the path is taken for one label, however many it has.
func domain(key string) string {
	list := strings.Split(strings.TrimSuffix(key, "/"), "/")
	if len(list) < 3 {
		return "."
	}
	list = list[2:]
	slices.Reverse(list)
	return dns.Fqdn(strings.Join(list, "."))
}

// under is a name below a zone.
func under(name, zone string) string {
	if zone == "." {
		return name + "."
	}
	return name + "." + zone
}
