// Package records turns cluster values into the zone that cluster DNS serves: names into compiled answers. Every rule of
// the Kubernetes DNS specification 1.1.0, every habit of CoreDNS's kubernetes plugin and every departure from them lives
// here and nowhere else. It does no I/O.
//
// A Store takes changes and publishes a new Zone after each batch. A Zone never changes; any number of goroutines look
// names up in it without a lock.
package records

import (
	"net/netip"

	"github.com/waypost/waypost/message"
)

// Config is what a Store is told once, of the zones and of what is answered there.
type Config struct {
	Zones        []message.Name // in the order of the Corefile; the first that is not a reverse zone names PTR targets
	Multicluster []message.Name // those of Zones that hold ServiceImports instead of Services
	TTL          uint32         // seconds, of every answer but dns-version's
	Pods         PodMode
	PodNames     bool            // an endpoint without a hostname is named after its Pod (endpoint_pod_names)
	Namespaces   map[string]bool // the namespaces that are served; nil serves all
	IgnoreEmpty  bool            // a ClusterIP Service without ready endpoints does not exist (ignore empty_service)
	Zonal        bool            // ZONE.pin._zone.SERVICE and ZONE.prefer._zone.SERVICE exist for headless Services
	LocalIPs     []netip.Addr    // the server's own addresses, for the zone's NS records
}

// PodMode is what names below "pod" mean, the option "pods".
type PodMode uint8

// The modes.
const (
	PodsDisabled PodMode = iota // no such name exists
	PodsInsecure                // any address in a namespace that exists
	PodsVerified                // the addresses of Pods in that namespace
)

// versionTTL is the TTL in seconds of the dns-version record, and version its text (DNS specification section 2.2).
const (
	versionTTL = 28800
	version    = "1.1.0"
)

// zoneInfo is what is worked out once of a zone.
type zoneInfo struct {
	name         message.Name
	labels       int
	multicluster bool
}

// plan is a Config made ready for lookups, shared by all Zones of a Store.
type plan struct {
	Config
	zones   []zoneInfo
	primary message.Name // the zone of PTR targets; the root has none, see ptr
}

func newPlan(c Config) *plan {
	p := &plan{Config: c, primary: message.Root}
	for _, zone := range c.Zones {
		info := zoneInfo{name: zone, labels: zone.Labels()}
		for _, m := range c.Multicluster {
			info.multicluster = info.multicluster || m == zone
		}
		p.zones = append(p.zones, info)
	}
	for _, zone := range c.Zones {
		if reverseFamily(zone) == 0 {
			p.primary = zone
			break
		}
	}
	return p
}

// match returns the longest of the zones that the question's name is in.
func (p *plan) match(q *message.Query) *zoneInfo {
	var best *zoneInfo
	for i := range p.zones {
		zone := &p.zones[i]
		if (best == nil || zone.labels > best.labels) && q.Under(zone.name) {
			best = zone
		}
	}
	return best
}

// named reports whether what is in a namespace has reverse names: it is served, and there is a zone to name it in. To
// CoreDNS the root is no such zone: the names it makes there cannot be sent.
func (p *plan) named(namespace string) bool {
	return (p.Namespaces == nil || p.Namespaces[namespace]) && p.primary != message.Root
}

const (
	arpa4 message.Name = "\x07in-addr\x04arpa\x00"
	arpa6 message.Name = "\x03ip6\x04arpa\x00"
)

// reverseFamily is 4 or 6 for a name below in-addr.arpa or ip6.arpa, else 0. Those two names themselves are not reverse
// names to CoreDNS, so they can be the zone of PTR targets.
func reverseFamily(name message.Name) int {
	switch {
	case name != arpa4 && name.Under(arpa4):
		return 4
	case name != arpa6 && name.Under(arpa6):
		return 6
	}
	return 0
}
