// Package fromapi reduces objects of the Kubernetes API to cluster values: the API says far more than DNS and routes need,
// and a cluster may have 100,000 endpoints.
//
// Each method returns what could be made of the object, and an error that names what could not. With a value, the error
// tells what was left out of it, as one bad address of a slice; without a value, the object is to be skipped. The API
// validates what it stores, so errors mean objects of a broken aggregate server, an old store or a hand-written manifest.
package fromapi

import (
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/waypost/waypost/cluster"
)

// Converter turns API objects into cluster values. It remembers strings that come again and again (namespaces, nodes,
// zones, port names) to share them, so it is not for concurrent use; a source has one for each kind.
type Converter struct {
	needs  cluster.Needs
	shared shared
}

// New returns a Converter that keeps what needs asks for and leaves out the rest.
func New(needs cluster.Needs) *Converter {
	return &Converter{needs: needs}
}

// Errors of Pod, each returned without a value.
var (
	// ErrTerminating is returned for a Pod that is being deleted. What was known of it stays true until it is gone.
	ErrTerminating = errors.New("the Pod is terminating")
	// ErrFinished is returned for a Pod that will not run again, or whose node is lost.
	ErrFinished = errors.New("the Pod is not running any more")
)

// Pod reduces a v1 Pod.
func (c *Converter) Pod(p *corev1.Pod) (*cluster.Pod, error) {
	key, err := c.key(p.Namespace, p.Name)
	if err != nil {
		return nil, err
	}
	switch p.Status.Phase {
	case corev1.PodSucceeded, corev1.PodFailed, corev1.PodUnknown:
		return nil, ErrFinished
	}
	if !p.DeletionTimestamp.IsZero() {
		return nil, ErrTerminating
	}
	var bad flaws
	value := &cluster.Pod{Namespace: key.Namespace, Name: key.Name}
	for _, ip := range p.Status.PodIPs {
		value.IPs = appendAddr(value.IPs, ip.IP, "status.podIPs", &bad)
	}
	return value, bad.errOf(key)
}

// Namespace reduces a v1 Namespace.
func (c *Converter) Namespace(n *corev1.Namespace) (*cluster.Namespace, error) {
	if !isLabel(n.Name) {
		return nil, fmt.Errorf("namespace %q: the name is not a DNS label", n.Name)
	}
	return &cluster.Namespace{Name: n.Name}, nil
}

// leavingTaint is put on a Node that the cluster autoscaler is about to remove.
const leavingTaint = "ToBeDeletedByClusterAutoscaler"

// Node reduces a v1 Node.
func (c *Converter) Node(n *corev1.Node) (*cluster.Node, error) {
	if n.Name == "" {
		return nil, errors.New("a Node without a name")
	}
	var bad flaws
	value := &cluster.Node{Name: n.Name}
	for _, kind := range []corev1.NodeAddressType{corev1.NodeInternalIP, corev1.NodeExternalIP} {
		for _, a := range n.Status.Addresses {
			if a.Type == kind {
				value.Addresses = appendAddr(value.Addresses, a.Address, "status.addresses", &bad)
			}
		}
	}
	if c.needs.NodeName == "" || c.needs.NodeName == n.Name {
		c.ownNode(value, n, &bad)
	}
	return value, bad.errOf(value.Key())
}

// ownNode adds what nobody needs to know of other Nodes than the one they are on.
func (c *Converter) ownNode(value *cluster.Node, n *corev1.Node, bad *flaws) {
	value.Zone = c.shared.string(n.Labels[corev1.LabelTopologyZone])
	value.Leaving = !n.DeletionTimestamp.IsZero()
	_, value.Excluded = n.Labels[corev1.LabelNodeExcludeBalancers]
	for _, cidr := range n.Spec.PodCIDRs {
		value.PodCIDRs = appendPrefix(value.PodCIDRs, cidr, "spec.podCIDRs", bad)
	}
	for _, t := range n.Spec.Taints {
		value.Leaving = value.Leaving || t.Key == leavingTaint
	}
}

// Range reduces a networking/v1 ServiceCIDR.
func (c *Converter) Range(r *networkingv1.ServiceCIDR) (*cluster.Range, error) {
	if r.Name == "" {
		return nil, errors.New("a ServiceCIDR without a name")
	}
	var bad flaws
	value := &cluster.Range{Name: r.Name}
	for _, cidr := range r.Spec.CIDRs {
		value.Prefixes = appendPrefix(value.Prefixes, cidr, "spec.cidrs", &bad)
	}
	return value, bad.errOf(value.Key())
}

// key checks what every object in a namespace has, and shares the namespace's name.
func (c *Converter) key(namespace, name string) (cluster.Key, error) {
	if name == "" {
		return cluster.Key{}, errors.New("an object without a name")
	}
	if !isLabel(namespace) {
		return cluster.Key{}, fmt.Errorf("%q: the namespace %q is not a DNS label", name, namespace)
	}
	return cluster.Key{Namespace: c.shared.string(namespace), Name: name}, nil
}

// labelKey is key for what has a DNS name of its own.
func (c *Converter) labelKey(namespace, name string) (cluster.Key, error) {
	key, err := c.key(namespace, name)
	if err == nil && !isLabel(name) {
		return key, fmt.Errorf("%q: the name is not a DNS label", key)
	}
	return key, err
}

// isLabel reports whether s is a DNS label as Kubernetes names things (RFC 1123: lower case, digits, inner dashes).
func isLabel(s string) bool {
	if len(s) == 0 || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

// isDomain reports whether s can be a domain name: at most 253 bytes, its labels of letters, digits, dashes and underscores.
func isDomain(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if len(label) == 0 || len(label) > 63 {
			return false
		}
	}
	for i := range len(s) {
		if c := s[i]; !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return true
}
