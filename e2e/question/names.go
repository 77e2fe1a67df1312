package question

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// forward returns the names to ask about in a forward zone, relative to it: "" is its apex.
func (v *Vocabulary) forward() []string {
	names := []string{
		"", "svc", "pod", "dns", "ns.dns", "x.ns.dns", "a.b.ns.dns", "dns-version", "x.dns-version", "apex.dns", "hostmaster",
		"cluster.local", "foo", "kubernetes", "svc.svc", "pod.svc", "svc.pod", "pod.pod", "svc.svc.svc.svc", "_tcp", "*", "*.svc", "*.*.svc",
		"nosuch.svc", "nosuch.pod", "a.nosuch.svc", "a.b.nosuch.svc", "_http._tcp.a.nosuch.svc", "in-addr.arpa", "www.example.com",
	}
	for _, n := range v.Namespaces {
		names = append(names, n, n+".svc", n+".pod", n+".foo", "nosuch."+n+".svc", "x.nosuch."+n+".svc", "_http._tcp.nosuch."+n+".svc",
			"*."+n+".svc", "*."+n+".pod", "svc."+n+".svc", "pod."+n+".svc", "web."+n, "web."+n+".foo", "_tcp."+n+".svc")
	}
	for _, s := range v.Services {
		names = append(names, s.names()...)
	}
	return append(names, v.podNames()...)
}

// names are those of one Service: what exists and what looks nearly so.
func (s *Service) names() []string {
	base := s.Name + "." + s.Namespace + ".svc"
	if s.Name == "" {
		base = s.Namespace + ".svc"
	}
	names := []string{base, "x." + base, "_tcp." + base, "_udp." + base, "tcp." + base, "_._tcp." + base, "_._." + base,
		"_." + base, "_http." + base, "_any._tcp." + base, "*._tcp." + base, "_http._tcp." + base, "a.b.c." + base,
		"_80._tcp." + base, "_zone." + base, "pin._zone." + base, "east." + base, "h-0.east." + base, "h-0.west." + base}
	for _, p := range s.Ports {
		names = append(names, portNames(p, base)...)
	}
	for _, h := range s.Hosts {
		names = append(names, h+"."+base, "x."+h+"."+base, "_http._tcp."+h+"."+base, "_"+h+"."+base, h+".east."+base)
	}
	for _, zone := range []string{"zone-1", "zone-2", "zone-3", "nosuch", "eu.west.1", "zone-1.x", "east"} {
		names = append(names, zone+".pin._zone."+base, zone+".prefer._zone."+base)
	}
	return append(names, "zone-1.other._zone."+base, "zone-1._zone."+base, "zone-1.pin._zone.x."+base)
}

func portNames(p Port, base string) []string {
	other := map[string]string{"tcp": "udp", "udp": "sctp", "sctp": "tcp"}[p.Protocol]
	var names []string
	for _, form := range []string{"_%s._%s.", "%s.%s.", "_%s.%s.", "%s._%s.", "__%s._%s.", "_%s.__%s.", "x._%s._%s.", "_x._%s._%s."} {
		names = append(names, fmt.Sprintf(form, p.Name, p.Protocol)+base)
	}
	names = append(names, "_"+p.Name+"._"+other+"."+base, "_"+p.Name+"._."+base, "_._"+p.Protocol+"."+base, "_"+p.Name+"."+base,
		"_"+p.Protocol+"._"+p.Name+"."+base, "_"+p.Name+"x._"+p.Protocol+"."+base)
	for i, n := range names {
		names[i] = strings.TrimPrefix(n, ".") // an unnamed port leaves no label where no underscore stands for it
	}
	return names
}

// malformedHosts are labels that are nearly addresses, for Pods, with some that are although they do not look it.
var malformedHosts = []string{
	"0-0-0-0", "255-255-255-255", "--", "--1", "256-1-1-1", "010-1-2-3", "1-2-3", "-1-2-3", "fd00-", "1-2-3-4-5",
	"1-2-3-4-5-6-7-8", "1--2-3", "\\058\\0581", "--ffff-a01-203", "10.1.2.3", "10-1-2-3-", "10-1-2", "10--1-2", "1-2-3-x", "fd00--5--6",
	"fd00-250-0-0-0-0-0-5", "fe80--1%eth0", "FD00-250--5", "10-1-2-3", "ffff-ffff-ffff-ffff-ffff-ffff-ffff-ffff", "---", "-", "a", "\\000", "1\\0462\\0463\\0464",
}

func (v *Vocabulary) podNames() []string {
	var names []string
	for _, h := range malformedHosts {
		names = append(names, h+".prod.pod", h+".nosuch.pod", "x."+h+".prod.pod")
	}
	for _, a := range v.Addresses {
		for _, n := range []string{a.Namespace, "default", "nosuch"} {
			names = append(names, Dashed(a.Addr)+"."+n+".pod")
		}
		pod := Dashed(a.Addr) + "." + a.Namespace + ".pod"
		names = append(names, "b."+pod, "a.b."+pod, "c.a.b."+pod, "_http._tcp."+pod,
			strings.NewReplacer(":", "-", ".", "-").Replace(a.StringExpanded())+"."+a.Namespace+".pod")
	}
	return names
}

// reverse returns the absolute names to ask about below in-addr.arpa and ip6.arpa.
func (v *Vocabulary) reverse() []string {
	names := []string{
		"in-addr.arpa.", "ip6.arpa.", "arpa.", "svc.in-addr.arpa.", "pod.ip6.arpa.", "web.prod.svc.in-addr.arpa.", "prod.svc.in-addr.arpa.",
		"dns-version.in-addr.arpa.", "dns-version.ip6.arpa.", "ns.dns.in-addr.arpa.", "ns.dns.ip6.arpa.", "dns.in-addr.arpa.",
		"kubernetes.default.svc.in-addr.arpa.", "10-1-2-3.prod.pod.in-addr.arpa.", "1.01.96.10.in-addr.arpa.", "256.1.96.10.in-addr.arpa.",
		"1.1.1.96.10.in-addr.arpa.", "x.1.96.10.in-addr.arpa.", "-1.1.96.10.in-addr.arpa.", "+1.1.96.10.in-addr.arpa.", "1.1.96.10.in-addr.arpa.in-addr.arpa.",
		"0.0.0.0.in-addr.arpa.", "1.1.96.10.ip6.arpa.", "0.ip6.arpa.", "g.ip6.arpa.",
	}
	for _, a := range v.Addresses {
		name, err := dns.ReverseAddr(a.String())
		if err != nil {
			continue
		}
		labels := dns.SplitDomainName(name)
		for _, cut := range []int{1, 2, 3, len(labels) / 2, len(labels) - 3} {
			names = append(names, strings.Join(labels[cut:], ".")+".")
		}
		names = append(names, name, "x."+name, "5."+name, "_tcp."+name, "f.f."+name, "0."+labels[0]+"0."+strings.Join(labels[1:], ".")+".")
		if next := a.Next(); next.IsValid() {
			neighbour, _ := dns.ReverseAddr(next.String())
			names = append(names, neighbour)
		}
	}
	return names
}

// outside are names that no zone of the cluster covers.
var outside = []string{
	".", "com.", "local.", "xcluster.local.", "www.example.com.", "localhost.", "example.org.", "1.0.0.127.in-addr.arpa.", "web.prod.svc.example.net.",
	"web.prod.svc.cluster.local.example.com.", "cluster.localx.", "a.root-servers.net.", "id.server.", "version.bind.",
}
