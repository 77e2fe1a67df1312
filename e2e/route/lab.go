package route

import (
	"errors"
	"net/netip"
	"strings"
)

// Lab is the cluster that packets travel in:
//
//	        lan (192.168.10.0/24, fd00:10::/64)
//	   .1 |            .2 |         .100 |
//	  node-1            node-2         outside
//	  |     |           |    |
//	a .10  b .20     c .20  d .10      Pods: 10.244.NODE.0/24, fd00:244:NODE::/64
//
// The node under test is node-1. Outside has it as the way to the Services' ranges and to 203.0.113.0/24 and
// fd00:113::/64, where external addresses are.
type Lab struct {
	Lan, Node1, Node2, Outside *Space
	A, B, C, D                 *Space
	spaces                     []*Space
}

// Addresses, by the name of the Space, IPv4 and IPv6.
var addresses = map[string][2]string{
	"node-1": {"192.168.10.1", "fd00:10::1"}, "node-2": {"192.168.10.2", "fd00:10::2"}, "outside": {"192.168.10.100", "fd00:10::100"},
	"a": {"10.244.1.10", "fd00:244:1::10"}, "b": {"10.244.1.20", "fd00:244:1::20"},
	"c": {"10.244.2.20", "fd00:244:2::20"}, "d": {"10.244.2.10", "fd00:244:2::10"},
}

// Ranges that the lab's Pods and Services have their addresses from.
var (
	podRanges     = []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd00:244::/32")}
	serviceRanges = []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12"), netip.MustParsePrefix("fd00:10:96::/112")}
)

// NewLab lays out the cluster.
func NewLab() (*Lab, error) {
	l := &Lab{}
	for _, s := range []struct {
		name  string
		space **Space
	}{
		{"lan", &l.Lan}, {"node-1", &l.Node1}, {"node-2", &l.Node2}, {"outside", &l.Outside},
		{"a", &l.A}, {"b", &l.B}, {"c", &l.C}, {"d", &l.D},
	} {
		space, err := NewSpace(s.name)
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		*s.space = space
		l.spaces = append(l.spaces, space)
	}
	if err := l.connect(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Close takes the lab away.
func (l *Lab) Close() error {
	var failed []error
	for _, s := range l.spaces {
		failed = append(failed, s.Close())
	}
	return errors.Join(failed...)
}

func (l *Lab) connect() error {
	if err := l.Lan.Bridge("lan"); err != nil {
		return err
	}
	for _, s := range []*Space{l.Node1, l.Node2, l.Outside} {
		a := addresses[s.Name]
		if err := s.Plug("eth0", l.Lan, "lan", a[0]+"/24", a[1]+"/64"); err != nil {
			return err
		}
	}
	if err := l.node(l.Node1, "1", l.Node2, "2", l.A, l.B); err != nil {
		return err
	}
	if err := l.node(l.Node2, "2", l.Node1, "1", l.C, l.D); err != nil {
		return err
	}
	for _, way := range []struct{ to, node string }{
		{"10.96.0.0/12", "node-1"}, {"203.0.113.0/24", "node-1"}, {"10.244.1.0/24", "node-1"}, {"10.244.2.0/24", "node-2"},
		{"fd00:10:96::/112", "node-1"}, {"fd00:113::/64", "node-1"}, {"fd00:244:1::/64", "node-1"}, {"fd00:244:2::/64", "node-2"},
	} {
		via := addresses[way.node][0]
		if strings.Contains(way.to, ":") {
			via = addresses[way.node][1]
		}
		if err := l.Outside.Route(way.to, via); err != nil {
			return err
		}
	}
	for _, s := range l.spaces {
		if err := s.settle(); err != nil {
			return err
		}
	}
	return nil
}

// node makes a node of a Space: it forwards, has a bridge for its Pods, and knows the way to the other's.
func (l *Lab) node(s *Space, number string, other *Space, otherNumber string, pods ...*Space) error {
	err := s.Sysctl(map[string]string{
		"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1",
		"net/ipv4/conf/all/rp_filter": "0", "net/ipv4/conf/default/rp_filter": "0",
		// Refusals are to be seen one by one.
		"net/ipv4/icmp_ratelimit": "0", "net/ipv4/icmp_ratemask": "0", "net/ipv6/icmp/ratelimit": "0", "net/ipv6/icmp/ratemask": "\n",
	})
	if err != nil {
		return err
	}
	gateway := [2]string{"10.244." + number + ".1", "fd00:244:" + number + "::1"}
	if err := s.Bridge("cni0", gateway[0]+"/24", gateway[1]+"/64"); err != nil {
		return err
	}
	if err := s.Route("10.244."+otherNumber+".0/24", addresses[other.Name][0]); err != nil {
		return err
	}
	if err := s.Route("fd00:244:"+otherNumber+"::/64", addresses[other.Name][1]); err != nil {
		return err
	}
	// As everything else, addresses of Services leave the node to where nobody knows them.
	for i, to := range []string{"0.0.0.0/0", "::/0"} {
		if err := s.Route(to, addresses["outside"][i]); err != nil {
			return err
		}
	}
	for _, pod := range pods {
		a := addresses[pod.Name]
		if err := pod.Plug("eth0", s, "cni0", a[0]+"/24", a[1]+"/64"); err != nil {
			return err
		}
		if err := errors.Join(pod.Route("0.0.0.0/0", gateway[0]), pod.Route("::/0", gateway[1])); err != nil {
			return err
		}
	}
	return nil
}
