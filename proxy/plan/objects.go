package plan

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
)

// applyService takes a Service's new value, nil for one that is gone.
func (p *Plan) applyService(key cluster.Key, value *cluster.Service) {
	s := p.service(key)
	p.stats.Services++
	p.stats.PendingServices++
	old := s.value
	s.value = value
	p.mark(s)
	p.moveClusterIPs(clusterIPsOf(old), clusterIPsOf(value))
	p.moveExternals(s, externalsOf(old), externalsOf(value))
}

func (p *Plan) moveClusterIPs(old, value []netip.Addr) {
	if slices.Equal(old, value) {
		return
	}
	for _, a := range value {
		p.clusterIPs.add(a, 1)
		p.markExternals(a)
	}
	for _, a := range old {
		p.clusterIPs.add(a, -1)
		p.markExternals(a)
	}
}

func (p *Plan) moveExternals(s *service, old, value []netip.Addr) {
	if slices.Equal(old, value) {
		return
	}
	for _, a := range value {
		p.externals[a] = append(p.externals[a], s)
	}
	for _, a := range old {
		p.dropExternal(a, s)
	}
}

// dropExternal forgets once that s wants a.
func (p *Plan) dropExternal(a netip.Addr, s *service) {
	users := p.externals[a]
	i := slices.Index(users, s)
	if users = slices.Delete(users, i, i+1); len(users) == 0 {
		delete(p.externals, a)
		return
	}
	p.externals[a] = users
}

// isRouted reports whether a Service has routes at all, and why not.
func isRouted(s *cluster.Service) (why string) {
	switch {
	case s == nil:
		return "there is no such Service"
	case s.Type == cluster.ExternalName:
		return "a Service of type ExternalName has no address"
	case s.Type == cluster.Headless, len(s.ClusterIPs) == 0:
		return "a Service without a ClusterIP has no routes"
	case s.Routing == nil:
		return "the source of the Service keeps nothing for routes"
	case s.Routing.OtherProxy:
		return "the label service.kubernetes.io/service-proxy-name leaves it to another proxy"
	}
	return ""
}

// clusterIPsOf returns the ClusterIPs of a Service that has routes.
func clusterIPsOf(s *cluster.Service) []netip.Addr {
	if isRouted(s) != "" {
		return nil
	}
	return s.ClusterIPs
}

// externalsOf returns the external IPs of a Service that has routes, of both sorts.
func externalsOf(s *cluster.Service) []netip.Addr {
	if isRouted(s) != "" {
		return nil
	}
	if len(s.Routing.ExternalIPs) == 0 {
		return s.Routing.LoadBalancerIPs
	}
	return slices.Concat(s.Routing.ExternalIPs, s.Routing.LoadBalancerIPs)
}

// applySlice takes the values of a slice before and after a change.
func (p *Plan) applySlice(old, value *cluster.Slice) {
	p.stats.Slices++
	p.stats.PendingSlices++
	if old != nil && old.Service != "" && (value == nil || value.Service != old.Service) {
		s := p.service(cluster.Key{Namespace: old.Namespace, Name: old.Service})
		if i, found := s.findSlice(old.Name); found {
			s.slices = slices.Delete(s.slices, i, i+1)
			p.mark(s)
		}
	}
	if value == nil || value.Service == "" {
		return
	}
	s := p.service(cluster.Key{Namespace: value.Namespace, Name: value.Service})
	i, found := s.findSlice(value.Name)
	if !found {
		s.slices = slices.Insert(s.slices, i, value)
	}
	s.slices[i] = value
	p.mark(s)
	if t := value.Triggered; t > p.options.Started.UnixNano() && !value.HeadlessLabel {
		if f := cmp.Or(familyOf(value), familyOf(old)); f != "" {
			p.triggered = append(p.triggered, proxy.Trigger{Family: f, At: t})
		}
	}
}

// familyOf is the name of the family that a slice's endpoints are of, "" where it has none.
func familyOf(s *cluster.Slice) string {
	if s == nil || len(s.Endpoints) == 0 || !s.Endpoints[0].Address.IsValid() {
		return ""
	}
	return familyNames[family(s.Endpoints[0].Address)]
}

func (s *service) findSlice(name string) (int, bool) {
	return slices.BinarySearchFunc(s.slices, name, func(v *cluster.Slice, name string) int { return strings.Compare(v.Name, name) })
}

// service returns what is known of a Service, which may be nothing yet.
func (p *Plan) service(key cluster.Key) *service {
	s := p.services[key]
	if s == nil {
		s = &service{key: key, health: proxy.HealthCheck{Service: key}}
		p.services[key] = s
	}
	return s
}

// mark has s recomputed.
func (p *Plan) mark(s *service) {
	if !s.dirty {
		s.dirty = true
		p.dirty = append(p.dirty, s)
	}
	p.reprobe = p.reprobe || p.isProbed(s)
}

func (p *Plan) markAll() {
	for _, s := range p.inOrder() {
		p.mark(s)
	}
}

// markExternals has the Services recomputed that want the external IP a, as it may have become or ceased to be somebody
// else's.
func (p *Plan) markExternals(a netip.Addr) {
	for _, s := range p.externals[a] {
		p.mark(s)
	}
}

func compareKeys(a, b cluster.Key) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}
