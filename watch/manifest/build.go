package manifest

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/watch/fromapi"
)

// build makes the state out of what was found: completes it as a cluster would, and reduces what was asked for. last is
// the state before.
func (o *objects) build(needs cluster.Needs, s selectors, last *state) state {
	o.complete()
	c := fromapi.New(needs)
	var next state
	if !needs.NoNamespaces {
		convert(o, &next, o.namespaces, s.namespaces, func(v *corev1.Namespace) labels.Set { return v.Labels }, c.Namespace)
	}
	convert(o, &next, o.services, s.objects, func(v *corev1.Service) labels.Set { return v.Labels }, c.Service)
	if !needs.NoSlices {
		convert(o, &next, o.slices, s.objects, func(v *discoveryv1.EndpointSlice) labels.Set { return v.Labels }, c.Slice)
	}
	if needs.Pods {
		convert(o, &next, o.pods, s.objects, func(v *corev1.Pod) labels.Set { return v.Labels }, keepTerminating(c, last))
	}
	if needs.Imports {
		convert(o, &next, o.imports, s.namespaces, func(v *fromapi.ServiceImport) labels.Set { return v.Labels }, c.Import)
	}
	if needs.Routes {
		nodes := o.nodes
		if !needs.NodeAddresses {
			nodes = nodes.only(needs.NodeName)
		}
		convert(o, &next, nodes, labels.Everything(), func(*corev1.Node) labels.Set { return nil }, c.Node)
		convert(o, &next, o.ranges, labels.Everything(), func(*networkingv1.ServiceCIDR) labels.Set { return nil }, c.Range)
	}
	return next
}

// complete adds what a real cluster would have made of the objects.
func (o *objects) complete() {
	for _, pod := range o.pods {
		status := &pod.value.Status
		if len(status.PodIPs) == 0 && status.PodIP != "" {
			status.PodIPs = []corev1.PodIP{{IP: status.PodIP}}
		}
	}
	o.addNamespaces()
	o.allocate()
	o.addSlices()
}

// addNamespaces adds the Namespaces that objects are in and that nobody described, and gives all of them the label that
// the API server does.
func (o *objects) addNamespaces() {
	addNamespaces(o, o.services)
	addNamespaces(o, o.slices)
	addNamespaces(o, o.pods)
	addNamespaces(o, o.imports)
	for key, ns := range o.namespaces {
		if ns.value.Labels == nil {
			ns.value.Labels = map[string]string{}
		}
		ns.value.Labels[corev1.LabelMetadataName] = key.Name
	}
}

func addNamespaces[T any](o *objects, of table[T]) {
	for key, f := range of {
		name := cluster.Key{Name: key.Namespace}
		if _, ok := o.namespaces[name]; !ok {
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: key.Namespace}}
			o.namespaces[name] = found[corev1.Namespace]{ns, f.place}
		}
	}
}

// convert adds to next the objects of a table that the selector takes. What cannot be said of an object is warned of and
// counted; the rest of it, and of the table, stands.
func convert[T, U any, V interface {
	*U
	cluster.Object
}](o *objects, next *state, from table[T], selector labels.Selector, labelsOf func(*T) labels.Set, reduce func(*T) (V, error)) {
	for _, key := range sortedKeys(from) {
		f := from[key]
		if !selector.Matches(labelsOf(f.value)) {
			continue
		}
		v, err := reduce(f.value)
		if err != nil {
			o.warnings = append(o.warnings, fmt.Sprintf("%s: %v", f.place, err))
			o.skipped = append(o.skipped, v.Kind())
		}
		if v != nil {
			next.add(v)
		}
	}
}

// keepTerminating reduces Pods. Those that have ended are no part of the cluster; of those that are being deleted, what
// was known before stays true.
func keepTerminating(c *fromapi.Converter, last *state) func(*corev1.Pod) (*cluster.Pod, error) {
	return func(p *corev1.Pod) (*cluster.Pod, error) {
		v, err := c.Pod(p)
		switch {
		case errors.Is(err, fromapi.ErrFinished):
			return nil, nil
		case errors.Is(err, fromapi.ErrTerminating):
			known, _ := last[cluster.KindPod][cluster.Key{Namespace: p.Namespace, Name: p.Name}].(*cluster.Pod)
			return known, nil
		}
		return v, err
	}
}

// only is the table, or of it the one object of that name.
func (t table[T]) only(name string) table[T] {
	if name == "" {
		return t
	}
	key := cluster.Key{Name: name}
	if f, ok := t[key]; ok {
		return table[T]{key: f}
	}
	return nil
}
