package conntrack

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
)

// TestLooksRest has looks wait for each other: how long, by how far they are ahead of their share and what changes meanwhile.
func TestLooksRest(t *testing.T) {
	dns, fewer := route(cluster.UDP, "10.96.0.10:53", "10.1.0.1:53", "10.1.0.2:53"), route(cluster.UDP, "10.96.0.10:53", "10.1.0.1:53")
	web := route(cluster.UDP, "10.96.0.20:443", "10.1.0.1:443")
	type at struct {
		after  time.Duration // since the rest began; below 0 while the look before was taken
		change proxy.RouteChange
	}
	server, other := proxy.RouteChange{Old: dns, New: fewer}, proxy.RouteChange{Old: web}
	tcp := proxy.RouteChange{Old: route(cluster.TCP, "10.96.0.20:443", "10.1.0.1:443")}
	const ms = time.Millisecond
	for _, c := range []struct {
		name    string
		ahead   time.Duration
		changes []at
		want    time.Duration
	}{
		{"nothing changes", 0, nil, second},
		{"nothing changes, and looks are ahead", 10 * second, nil, 7 * second},
		{"a change", 0, []at{{300 * ms, other}}, 300 * ms},
		{"a change at once", 0, []at{{10 * ms, other}}, forUDP},
		{"a change during the look", 0, []at{{-1, other}}, forUDP},
		{"a change of TCP", 0, []at{{300 * ms, tcp}}, forTCP},
		{"a late change of TCP", 0, []at{{700 * ms, tcp}}, 700 * ms},
		{"a change after one of TCP", 0, []at{{10 * ms, tcp}, {200 * ms, other}}, 200 * ms},
		{"a change, and looks are ahead", 10 * second, []at{{10 * ms, other}}, 7 * second},
		{"a DNS server leaves, and looks are ahead", 10 * second, []at{{10 * ms, server}}, forUDP},
		{"a DNS server leaves during the look", 10 * second, []at{{-1, server}}, forUDP},
		{"a DNS server leaves late", 10 * second, []at{{5 * second, server}}, 5 * second},
		{"a DNS server leaves after a change", 10 * second, []at{{10 * ms, other}, {20 * ms, server}}, forUDP},
		{"a change after a DNS server leaves", 10 * second, []at{{10 * ms, server}, {20 * ms, other}}, forUDP},
		{"DNS servers leave without end", 70 * second, []at{{10 * ms, server}}, 10 * second},
		{"a DNS server comes back", 10 * second, []at{{10 * ms, proxy.RouteChange{Old: fewer, New: dns}}}, 7 * second},
		{"the DNS goes", 10 * second, []at{{10 * ms, proxy.RouteChange{Old: dns}}}, 7 * second},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &Flows{late: &late{}, wake: make(chan struct{}, 1), desired: desired{
				routes: map[proxy.Frontend]*proxy.Route{}, gone: map[proxy.Frontend]*proxy.Route{},
			}}
			for _, change := range c.changes {
				tell := func() { f.Apply(&proxy.Changes{Routes: []proxy.RouteChange{change.change}}) }
				if change.after < 0 {
					tell()
					continue
				}
				time.AfterFunc(change.after, tell)
			}
			begun := time.Now()
			if !f.rest(t.Context(), second, c.ahead) || time.Since(begun) != c.want {
				t.Errorf("%s: the rest took %s, want %s", c.name, time.Since(begun), c.want)
			}
		})
	}
}

// Looks that fail are taken again ever later, but for a change.
func TestLooksThatFailRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &Flows{wake: make(chan struct{}, 1)}
		begun := time.Now()
		if !f.rest(t.Context(), 8*second, 0) || time.Since(begun) != 8*second {
			t.Errorf("the rest took %s, want 8 s", time.Since(begun))
		}
		f.look(udp4)
		begun = time.Now()
		if !f.rest(t.Context(), 8*second, 0) || time.Since(begun) != forUDP {
			t.Errorf("with a change the rest took %s, want %s", time.Since(begun), forUDP)
		}
	})
}

func TestLooksRestUntilTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begun := time.Now()
		f := &Flows{wake: make(chan struct{}, 1)}
		if f.rest(ctx, second, time.Hour) || time.Since(begun) != time.Minute {
			t.Errorf("it rests for %s", time.Since(begun))
		}
	})
}
