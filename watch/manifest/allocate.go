package manifest

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/waypost/waypost/cluster"
)

// The ranges addresses are allocated from: for IPv4 that which kubeadm gives a cluster, for IPv6 one of unique local
// addresses (RFC 4193). The first addresses of each are left to Services that name theirs, as by KEP-3070.
var (
	ipv4Services = netip.MustParsePrefix("10.96.0.0/12")
	ipv6Services = netip.MustParsePrefix("fd00:10:96::/112")
)

const leftFree = 256

// allocate gives an address to each Service that would get one from the API server. Which one follows from the Service's
// name alone, unless that is taken: a changed manifest changes no other Service, and two servers with the same manifests
// agree.
func (o *objects) allocate() {
	taken := o.takenIPs()
	for _, key := range sortedKeys(o.services) {
		f := o.services[key]
		spec := &f.value.Spec
		if spec.Type == corev1.ServiceTypeExternalName || spec.ClusterIP != "" || len(spec.ClusterIPs) > 0 {
			continue
		}
		for _, family := range wantedFamilies(spec) {
			ip := freeIP(key, family, taken)
			taken[ip] = true
			spec.ClusterIPs = append(spec.ClusterIPs, ip.String())
		}
		spec.ClusterIP = spec.ClusterIPs[0]
		o.warnings = append(o.warnings, fmt.Sprintf(
			"%s: Service %q has no spec.clusterIP, which Kubernetes would have allocated: it gets %s here", f.place, key, spec.ClusterIP))
	}
}

// takenIPs are the addresses that Services have.
func (o *objects) takenIPs() map[netip.Addr]bool {
	taken := map[netip.Addr]bool{}
	for _, f := range o.services {
		for _, text := range append([]string{f.value.Spec.ClusterIP}, f.value.Spec.ClusterIPs...) {
			if ip, err := netip.ParseAddr(text); err == nil {
				taken[ip] = true
			}
		}
	}
	return taken
}

// wantedFamilies are the families a Service without an address asks for: those it names, IPv4 if it names none, and both
// in a dual-stack policy.
func wantedFamilies(spec *corev1.ServiceSpec) []corev1.IPFamily {
	families := slices.Clone(spec.IPFamilies)
	if len(families) == 0 {
		families = []corev1.IPFamily{corev1.IPv4Protocol}
	}
	if p := spec.IPFamilyPolicy; len(families) == 1 && p != nil && *p != corev1.IPFamilyPolicySingleStack {
		if families[0] == corev1.IPv6Protocol {
			return append(families, corev1.IPv4Protocol)
		}
		return append(families, corev1.IPv6Protocol)
	}
	return families
}

// freeIP is the address of a family that the name leads to, or the next that is free.
func freeIP(key cluster.Key, family corev1.IPFamily, taken map[netip.Addr]bool) netip.Addr {
	services := ipv4Services
	if family == corev1.IPv6Protocol {
		services = ipv6Services
	}
	size := uint32(1)<<(services.Addr().BitLen()-services.Bits()) - leftFree - 1
	hash := fnv.New32a()
	hash.Write([]byte(key.String()))
	for offset := hash.Sum32() % size; ; offset = (offset + 1) % size {
		ip := plus(services.Addr(), leftFree+offset)
		if !taken[ip] {
			return ip
		}
	}
}

// plus is the address n further, within the last four bytes.
func plus(ip netip.Addr, n uint32) netip.Addr {
	b := ip.AsSlice()
	last := b[len(b)-4:]
	binary.BigEndian.PutUint32(last, binary.BigEndian.Uint32(last)+n)
	sum, _ := netip.AddrFromSlice(b)
	return sum
}
