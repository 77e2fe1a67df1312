package records

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/message"
)

func TestSearchPath(t *testing.T) {
	var changes []cluster.Change
	for _, pod := range []*cluster.Pod{
		{Namespace: "prod", Name: "web", IPs: addrs("10.244.1.1", "fd00::1")},
		{Namespace: "svc", Name: "odd", IPs: addrs("10.244.1.2")},
		{Namespace: "prod", Name: "host", IPs: addrs("10.0.0.1")},
		{Namespace: "dev", Name: "host", IPs: addrs("10.0.0.1")},
	} {
		changes = append(changes, cluster.Change{New: pod})
	}
	tests := []struct{ client, name, want string }{
		{"10.244.1.1", "www.example.com.prod.svc.Cluster.local.", "[prod.svc.cluster.local. svc.cluster.local. cluster.local.]"},
		{"::ffff:10.244.1.1", "a.prod.svc.cluster.local.", "[prod.svc.cluster.local. svc.cluster.local. cluster.local.]"},
		{"fd00::1", "prod.svc.cluster.local.", "[prod.svc.cluster.local. svc.cluster.local. cluster.local.]"},
		{"10.244.1.1", "a.prod.svc.prod.cluster.local.", "[prod.svc.prod.cluster.local. svc.prod.cluster.local. prod.cluster.local.]"},
		{"10.244.1.2", "a.svc.svc.cluster.local.", "[svc.svc.cluster.local. svc.cluster.local. cluster.local.]"},
		{"10.0.0.1", "a.dev.svc.cluster.local.", "[dev.svc.cluster.local. svc.cluster.local. cluster.local.]"},
		{"10.0.0.1", "a.prod.svc.cluster.local.", "[prod.svc.cluster.local. svc.cluster.local. cluster.local.]"},
		{"10.244.1.1", "a.dev.svc.cluster.local.", "[]"},
		{"10.244.1.1", "a.prod.pod.cluster.local.", "[]"},
		{"10.244.1.1", "svc.cluster.local.", "[]"},
		{"10.244.1.1", "cluster.local.", "[]"},
		{"10.244.1.1", "a.prod.svc.cluster.example.", "[]"},
		{"10.244.1.9", "a.prod.svc.cluster.local.", "[]"},
	}
	for _, mode := range []PodMode{PodsVerified, PodsInsecure, PodsDisabled} {
		s := NewStore(Config{Zones: names("cluster.local", "prod.cluster.local"), Pods: mode})
		if err := s.Apply(changes, changedAt); err != nil {
			t.Fatal(err)
		}
		for _, tt := range tests {
			packet, err := new(dns.Msg).SetQuestion(tt.name, dns.TypeA).Pack()
			if err != nil {
				t.Fatal(err)
			}
			q := message.Query{From: netip.AddrPortFrom(netip.MustParseAddr(tt.client), 53)}
			q.Parse(packet)
			want := tt.want
			if mode != PodsVerified {
				want = "[]"
			}
			if got := fmt.Sprint(s.Zone().SearchPath(&q)); got != want {
				t.Errorf("%s asks %s: got %s, want %s", tt.client, tt.name, got, want)
			}
		}
	}
}
