package records

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/cluster"
)

// pod answers the names below "pod"; labels are those before it.
func (n *naive) pod(name string, typ uint16, labels []string) []string {
	if len(labels) == 0 {
		return n.noData()
	}
	namespace := labels[len(labels)-1]
	if n.config.Pods == PodsDisabled || len(labels) > 4 || !n.served(namespace) {
		return n.nxDomain()
	}
	if len(labels) == 1 {
		return n.noData()
	}
	label := labels[len(labels)-2]
	addr, ok := n.dashes(label)
	pods := 1 // where nobody looks
	if n.config.Pods == PodsVerified {
		pods = n.podsAt(namespace, label)
	}
	if !ok || pods == 0 {
		return n.nxDomain()
	}
	lines := map[string]bool{}
	self := backend{label, addr, []cluster.Port{{}}, "", ""}
	n.record(lines, name, "", typ, self, 0)
	if typ == dns.TypeSRV {
		target := label + "." + namespace + ".pod." + naiveZone
		lines[fmt.Sprintf("%s %d IN SRV 0 %d 0 %s", name, n.config.TTL, 100/pods, target)] = true
		lines[fmt.Sprintf("additional: %s %d IN %s %s", target, n.config.TTL, dns.TypeToString[familyOf(addr)], addr)] = true
	}
	if len(lines) == 0 {
		return n.noData()
	}
	return append([]string{"NOERROR aa"}, slices.Sorted(maps.Keys(lines))...)
}

// dashes reads the address in a Pod's name.
func (n *naive) dashes(label string) (netip.Addr, bool) {
	text := strings.ReplaceAll(label, "-", ":")
	if strings.Count(label, "-") == 3 && !strings.Contains(label, "--") {
		text = strings.ReplaceAll(label, "-", ".")
	}
	addr, err := netip.ParseAddr(text)
	return addr, err == nil
}

// podsAt is how many Pods of a namespace have the address that is written so.
func (n *naive) podsAt(namespace, label string) (count int) {
	for _, p := range n.pods {
		for _, ip := range p.IPs {
			if p.Namespace == namespace && strings.NewReplacer(".", "-", ":", "-").Replace(ip.String()) == label {
				count++
			}
		}
	}
	return count
}

// reverse answers the names of in-addr.arpa and ip6.arpa.
func (n *naive) reverse(name string, typ uint16) []string {
	zone, address := "in-addr.arpa.", name
	if strings.HasSuffix(name, ".ip6.arpa.") {
		zone = "ip6.arpa."
		if labels := dns.SplitDomainName(name); len(labels) > 34 && len(labels) <= 37 {
			address = strings.Join(labels[len(labels)-34:], ".") + "." // what is before is not looked at
		}
	}
	pointers := n.pointers()
	lines := map[string]bool{}
	for target := range pointers[address] {
		lines[fmt.Sprintf("%s %d IN PTR %s", name, n.config.TTL, target)] = true
	}
	between := slices.ContainsFunc(slices.Collect(maps.Keys(pointers)), func(other string) bool { return strings.HasSuffix(other, "."+address) })
	switch {
	case len(lines) > 0 && typ == dns.TypePTR:
		return append([]string{"NOERROR aa"}, slices.Sorted(maps.Keys(lines))...)
	case len(lines) > 0 || between:
		return []string{"NOERROR aa", n.soa(zone)}
	}
	return []string{"NXDOMAIN aa", n.soa(zone)}
}

// pointers are the targets of all reverse names: of a ClusterIP the Service, of any other address the endpoints that have it.
func (n *naive) pointers() map[string]map[string]bool {
	all := map[string]map[string]bool{}
	for _, s := range n.slices {
		for _, e := range s.Endpoints {
			if n.allowed(s.Namespace) && s.Service != "" && e.State&cluster.Ready != 0 {
				name := reverseAddr(e.Address)
				if all[name] == nil {
					all[name] = map[string]bool{}
				}
				all[name][n.host(&e)+"."+s.Service+"."+s.Namespace+".svc."+naiveZone] = true
			}
		}
	}
	for _, s := range n.services {
		for _, ip := range s.ClusterIPs {
			if n.allowed(s.Namespace) {
				all[reverseAddr(ip)] = map[string]bool{s.Name + "." + s.Namespace + ".svc." + naiveZone: true}
			}
		}
	}
	return all
}

func reverseAddr(ip netip.Addr) string {
	name, err := dns.ReverseAddr(ip.String())
	if err != nil {
		panic(err) // of an address
	}
	return name
}
