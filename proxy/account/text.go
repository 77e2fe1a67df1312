package account

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/waypost/waypost/proxy"
)

// Kernel is what a kernel has, to be held against accounts.
type Kernel struct {
	routes map[proxy.Frontend]*proxy.Route
	left   map[proxy.Frontend]bool // those that no account had yet
}

// NewKernel takes what proxy.Kernel's Read returned.
func NewKernel(routes []*proxy.Route) *Kernel {
	k := &Kernel{routes: make(map[proxy.Frontend]*proxy.Route, len(routes)), left: make(map[proxy.Frontend]bool, len(routes))}
	for _, r := range routes {
		k.routes[r.Frontend] = r
		k.left[r.Frontend] = true
	}
	return k
}

// Compare notes in s where the kernel differs, and returns at how many routes.
func (k *Kernel) Compare(s *Service) int {
	n := 0
	for i := range s.Ports {
		for j := range s.Ports[i].Routes {
			r := &s.Ports[i].Routes[j]
			f := r.Frontend()
			delete(k.left, f)
			if r.Kernel = r.differs(k.routes[f]); r.Kernel != "" {
				n++
			}
		}
	}
	return n
}

// Left returns the routes that no Service compared so far wants, by frontend.
func (k *Kernel) Left() []*proxy.Route {
	left := make([]*proxy.Route, 0, len(k.left))
	for f := range k.left {
		left = append(left, k.routes[f])
	}
	slices.SortFunc(left, func(a, b *proxy.Route) int { return strings.Compare(a.Frontend.String(), b.Frontend.String()) })
	return left
}

// Print writes s for people to read:
//
//	prod/web
//	  10.96.0.1:80/tcp  to 1 endpoint; masqueraded unless from a Pod
//	  http/tcp, IPv4: 1 of 2 endpoints
//	    10.1.0.1:8080  on a  ready
//	    10.1.0.2:8080  on b  unready  not used: it is not ready
//	  refused: external IP 10.96.0.10: it is a ClusterIP
func (s *Service) Print(to io.Writer) error {
	w := bufio.NewWriter(to)
	fmt.Fprintf(w, "%s/%s\n", s.Namespace, s.Name)
	if s.Why != "" {
		fmt.Fprintf(w, "  no routes: %s\n", s.Why)
	}
	width := 0
	for i := range s.Ports {
		for j := range s.Ports[i].Routes {
			width = max(width, len(s.Ports[i].Routes[j].Frontend().String()))
		}
	}
	for i := range s.Ports {
		s.Ports[i].print(w, width)
	}
	for _, slice := range s.Slices {
		fmt.Fprintf(w, "  slice %s is not used: %s\n", slice.Name, slice.Why)
	}
	for _, r := range s.Refused {
		fmt.Fprintf(w, "  refused: %s: %s\n", r.What, r.Why)
	}
	return w.Flush()
}

func (p *Port) print(w io.Writer, width int) {
	for i := range p.Routes {
		r := &p.Routes[i]
		fmt.Fprintf(w, "  %-*s  %s\n", width, r.Frontend(), r.words())
		if r.Kernel != "" {
			fmt.Fprintf(w, "  %-*s  THE KERNEL DIFFERS: %s\n", width, "", r.Kernel)
		}
	}
	name := p.Protocol
	if p.Name != "" {
		name = p.Name + "/" + p.Protocol
	}
	used, addresses := 0, 0
	for i := range p.Endpoints {
		if e := &p.Endpoints[i]; e.Cluster || e.Local {
			used++
		}
		addresses = max(addresses, len(p.Endpoints[i].Address.String()))
	}
	fmt.Fprintf(w, "  %s, %s: %d of %s\n", name, p.Family, used, counted(p.Endpoints))
	for i := range p.Endpoints {
		e := &p.Endpoints[i]
		fmt.Fprintf(w, "    %-*s  %s\n", addresses, e.Address, e.words())
	}
}

// words says where a route leads.
func (r *Route) words() string {
	var b strings.Builder
	switch r.Verdict {
	case proxy.Reject.String():
		b.WriteString("rejected: no endpoint serves")
	case proxy.Drop.String():
		b.WriteString("dropped: no endpoint on this node, and the policy is Local")
	case proxy.Forward.String():
		fmt.Fprintf(&b, "to %s", counted(r.Endpoints))
	case proxy.Split.String():
		fmt.Fprintf(&b, "Pods and the node to %s, others ", counted(r.Endpoints))
		if len(r.Local) == 0 {
			b.WriteString("dropped: none is on this node")
		} else {
			fmt.Fprintf(&b, "to %s on this node", counted(r.Local))
		}
	}
	switch {
	case r.Verdict != proxy.Forward.String():
	case r.Masquerade == proxy.Always.String():
		b.WriteString("; masqueraded")
	case r.Masquerade == proxy.Foreign.String():
		b.WriteString("; masqueraded unless from a Pod")
	}
	if r.Affinity > 0 {
		fmt.Fprintf(&b, "; a client stays for %ds", r.Affinity)
	}
	if len(r.Sources) > 0 {
		fmt.Fprintf(&b, "; only from %s", joined(r.Sources))
	}
	return b.String()
}

func counted[T any](endpoints []T) string {
	if len(endpoints) == 1 {
		return "1 endpoint"
	}
	return fmt.Sprintf("%d endpoints", len(endpoints))
}

func joined(prefixes []netip.Prefix) string {
	words := make([]string, len(prefixes))
	for i, p := range prefixes {
		words[i] = p.String()
	}
	return strings.Join(words, ", ")
}

func (e *Endpoint) words() string {
	var words []string
	if e.Node != "" {
		words = append(words, "on "+e.Node)
	}
	words = append(words, e.State)
	switch {
	case !e.Cluster && !e.Local:
		words = append(words, "not used: "+e.Why)
	case !e.Cluster:
		words = append(words, "only as one of this node")
	}
	return strings.Join(words, "  ")
}
