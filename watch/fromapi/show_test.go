package fromapi

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/waypost/waypost/cluster"
)

// show prints a value in one line; "" for none.
func show(value cluster.Object) string {
	if reflect.ValueOf(value).IsNil() {
		return ""
	}
	w := &line{}
	w.add("%s", value.Key())
	switch v := value.(type) {
	case *cluster.Service:
		w.service(v)
	case *cluster.Slice:
		w.slice(v)
	case *cluster.Pod:
		addAll(w, v.IPs)
	case *cluster.Import:
		w.when(v.Headless, "headless")
		addAll(w, v.IPs)
		w.ports(v.Ports)
	case *cluster.Range:
		addAll(w, v.Prefixes)
	case *cluster.Node:
		addAll(w, v.Addresses)
		addAll(w, v.PodCIDRs)
		w.when(v.Zone != "", "in %s", v.Zone)
		w.when(v.Leaving, "leaving")
		w.when(v.Excluded, "excluded")
	}
	return strings.Join(w.words, " ")
}

type line struct{ words []string }

func (w *line) add(format string, args ...any) {
	w.words = append(w.words, fmt.Sprintf(format, args...))
}

func (w *line) when(is bool, format string, args ...any) {
	if is {
		w.add(format, args...)
	}
}

func addAll[T fmt.Stringer](w *line, all []T) {
	for _, v := range all {
		w.add("%s", v)
	}
}

func (w *line) ports(ports []cluster.Port) {
	for _, p := range ports {
		text := fmt.Sprintf("%s:%s/%d", p.Name, p.Protocol, p.Number)
		if p.NodePort != 0 {
			text += fmt.Sprintf("/%d", p.NodePort)
		}
		w.add("%s", text)
	}
}

func (w *line) service(s *cluster.Service) {
	w.when(s.Type == cluster.Headless, "headless")
	w.when(s.Type == cluster.ExternalName, "is %s", s.ExternalName)
	addAll(w, s.ClusterIPs)
	w.ports(s.Ports)
	if r := s.Routing; r != nil {
		w.routing(r)
	}
}

func (w *line) routing(r *cluster.Routing) {
	w.when(r.ExternalIPs != nil, "external")
	addAll(w, r.ExternalIPs)
	w.when(r.LoadBalancerIPs != nil, "balanced")
	addAll(w, r.LoadBalancerIPs)
	w.when(r.SourceRanges != nil, "for")
	addAll(w, r.SourceRanges)
	w.when(r.AffinitySeconds > 0, "affinity %ds", r.AffinitySeconds)
	w.when(r.InternalLocal, "internal-local")
	w.when(r.ExternalLocal, "external-local")
	w.when(r.HealthCheckNodePort > 0, "health %d", r.HealthCheckNodePort)
	w.when(r.Distribution != "", "%s", r.Distribution)
	w.when(r.LoadBalancer, "load-balancer")
	w.when(r.AllocatesNodePorts, "node-ports")
	w.when(r.TopologyMode != "", "topology %s", r.TopologyMode)
	w.when(r.PublishNotReady, "not-ready")
	w.when(r.OtherProxy, "other-proxy")
	w.when(r.Created != 0, "created %d", r.Created)
}

func (w *line) slice(s *cluster.Slice) {
	w.add("of %s", s.Service)
	w.when(s.Multicluster != "", "import %s at %s", s.Multicluster, s.SourceCluster)
	w.ports(s.Ports)
	for i, e := range s.Endpoints {
		name := e.Address.String()
		if s.FQDNs != nil {
			name = s.FQDNs[i]
		}
		w.add("[%s]", endpoint(name, &e))
	}
	w.when(s.HeadlessLabel, "headless-label")
	w.when(s.Triggered != 0, "triggered %d", s.Triggered)
}

func endpoint(name string, e *cluster.Endpoint) string {
	w := &line{words: []string{name}}
	w.when(e.Hostname != "", "%s", e.Hostname)
	w.when(e.Pod != "", "pod=%s", e.Pod)
	if p := e.Place; p != nil {
		w.when(p.Zone != "", "zone=%s", p.Zone)
		w.when(p.Node != "", "node=%s", p.Node)
		w.when(p.ForZones != nil, "for=%s;%s", strings.Join(p.ForZones, ","), strings.Join(p.ForNodes, ","))
	}
	w.when(e.Ready(), "ready")
	w.when(e.State&cluster.Serving != 0, "serving")
	w.when(e.State&cluster.Terminating != 0, "terminating")
	w.when(e.State&cluster.Further != 0, "further")
	return strings.Join(w.words, " ")
}
