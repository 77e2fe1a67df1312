package conntrack

import (
	"net/netip"
	"testing"
	"time"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
)

// TestLateAnswersAreOfServersThatWereLeft has answers translated of DNS servers that questions were sent to and are no more, while
// they serve, and for some time only.
func TestLateAnswersAreOfServersThatWereLeft(t *testing.T) {
	const service, one, two = "10.96.0.10:53", "10.1.0.1:53", "10.1.0.2:53"
	both := route(cluster.UDP, service, one, two)
	both.Serving = endpoints(one, two)
	first := route(cluster.UDP, service, one)
	first.Serving = both.Serving
	alone := route(cluster.UDP, service, one)
	alone.Serving = endpoints(one)
	tcp, nodePort, nodePorts := *first, *first, *both
	tcp.Protocol = cluster.TCP
	nodePort.Address, nodePorts.Address = netip.IPv4Unspecified(), netip.IPv4Unspecified()
	other := route(cluster.UDP, "10.96.0.11:53", one)
	for _, c := range []struct {
		name    string
		changes []proxy.RouteChange
		after   time.Duration // between two changes
		want    bool          // after all of them
		changed bool          // the last one did
	}{
		{"left", []proxy.RouteChange{{Old: both, New: first}}, 0, true, true},
		{"never chosen", []proxy.RouteChange{{New: first}, {Old: alone, New: first}}, 0, false, false},
		{"gone at once", []proxy.RouteChange{{Old: both, New: alone}}, 0, false, false},
		{"left and serving", []proxy.RouteChange{{Old: both, New: first}, {Old: first, New: first}}, 0, true, false},
		{"left and chosen again", []proxy.RouteChange{{Old: both, New: first}, {Old: first, New: both}}, 0, false, true},
		{"left and gone", []proxy.RouteChange{{Old: both, New: first}, {Old: first, New: alone}}, 0, false, true},
		{"left, and its Service gone", []proxy.RouteChange{{Old: both, New: first}, {Old: first}}, 0, false, true},
		{"left, and another Service changed", []proxy.RouteChange{{Old: both, New: first}, {Old: other}}, 0, true, false},
		{"left long ago", []proxy.RouteChange{{Old: both, New: first}, {Old: first, New: first}}, patience, false, false},
		{"left long ago, and gone", []proxy.RouteChange{{Old: both, New: first}, {Old: first, New: alone}}, patience, false, false},
		{"left again", []proxy.RouteChange{{Old: both, New: first}, {Old: first, New: both}, {Old: both, New: first}}, patience / 2, true, true},
		{"over TCP", []proxy.RouteChange{{Old: &tcp, New: &tcp}}, 0, false, false},
		{"of a NodePort", []proxy.RouteChange{{Old: &nodePorts, New: &nodePort}}, 0, false, false},
	} {
		l, changed, now := &late{}, false, time.Now()
		for i, change := range c.changes {
			if i > 0 {
				now = now.Add(c.after)
			}
			changed = l.note([]proxy.RouteChange{change}, now)
		}
		o, there := l.families[0].owing[netip.MustParseAddrPort(two)]
		if there != c.want || changed != c.changed || len(l.families[1].owing) > 0 {
			t.Errorf("%s: late answers are expected: %t, want %t; the last change counts: %t, want %t", c.name, there, c.want, changed, c.changed)
		}
		if there && (o.service != netip.MustParseAddrPort(service) || o.until.Sub(now) > patience) {
			t.Errorf("%s: answers of %s are expected until %s from now", c.name, o.service, o.until.Sub(now))
		}
	}
}

// TestLateAnswersAfterAStart has answers translated of a server that was left while nobody ran.
func TestLateAnswersAfterAStart(t *testing.T) {
	const service, one, two = "10.96.0.10:53", "10.1.0.1:53", "10.1.0.2:53"
	installed, now := route(cluster.UDP, service, one, two), route(cluster.UDP, service, one)
	now.Serving = endpoints(one, two)
	f := &Flows{late: &late{}, unsure: true, wake: make(chan struct{}, 1), desired: desired{gone: map[proxy.Frontend]*proxy.Route{}}}
	f.Sync([]*proxy.Route{installed}, &proxy.Wanted{Routes: []*proxy.Route{now}})
	if _, there := f.late.families[0].owing[netip.MustParseAddrPort(two)]; !there {
		t.Error("late answers are not expected of a server that was left")
	}
}
