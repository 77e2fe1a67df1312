package manifest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/watch/fromapi"
)

// objects are what was found in the files, as the API has it.
type objects struct {
	namespaces table[corev1.Namespace]
	services   table[corev1.Service]
	slices     table[discoveryv1.EndpointSlice]
	pods       table[corev1.Pod]
	imports    table[fromapi.ServiceImport]
	nodes      table[corev1.Node]
	ranges     table[networkingv1.ServiceCIDR]
	warnings   []string
	skipped    []cluster.Kind // of each object that something cannot be said of
}

// table holds the objects of one kind.
type table[T any] map[cluster.Key]found[T]

// found is an object and where it was.
type found[T any] struct {
	value *T
	place place
}

func newObjects() *objects {
	return &objects{
		namespaces: table[corev1.Namespace]{}, services: table[corev1.Service]{},
		slices: table[discoveryv1.EndpointSlice]{}, pods: table[corev1.Pod]{},
		imports: table[fromapi.ServiceImport]{}, nodes: table[corev1.Node]{},
		ranges: table[networkingv1.ServiceCIDR]{},
	}
}

// decode adds the objects of a file. The error names the file, the document in it, and what is known of the field.
func (o *objects) decode(file string, text []byte) error {
	docs, err := documents(file, text)
	if err != nil {
		return err
	}
	for _, d := range docs {
		if err := o.decodeObject(d.json, typeMeta{}, d.place); err != nil {
			return err
		}
	}
	return nil
}

// typeMeta says what an object is.
type typeMeta struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
}

// header is what is read of every object, also of those that are passed over.
type header struct {
	typeMeta
	Metadata struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	Items []json.RawMessage `json:"items"`
}

// decodeObject adds one object, or those of a list. The items of a typed list, such as a ServiceList, need not repeat
// what they are.
func (o *objects) decodeObject(raw []byte, list typeMeta, at place) error {
	h := header{typeMeta: list}
	if err := json.Unmarshal(raw, &h); err != nil {
		return fmt.Errorf("%s: %w", at, inWords(err))
	}
	if h.Kind == "" || h.APIVersion == "" {
		return fmt.Errorf("%s: apiVersion or kind is missing, this is no Kubernetes object", at)
	}
	item, isList := strings.CutSuffix(h.Kind, "List")
	if !isList || h.Items == nil {
		return o.decodeKind(raw, &h, at)
	}
	if at.item > 0 {
		return fmt.Errorf("%s: a %s inside a list", at, h.Kind)
	}
	of := typeMeta{APIVersion: h.APIVersion, Kind: item}
	if item == "" {
		of = typeMeta{}
	}
	for i, raw := range h.Items {
		at.item = i + 1
		if err := o.decodeObject(raw, of, at); err != nil {
			return err
		}
	}
	return nil
}

// decodeKind adds an object of one of the kinds that matter.
func (o *objects) decodeKind(raw []byte, h *header, at place) error {
	switch h.typeMeta {
	case typeMeta{"v1", "Namespace"}:
		return decodeInto(o, o.namespaces, raw, h, at, func(v *corev1.Namespace) *metav1.ObjectMeta { return &v.ObjectMeta })
	case typeMeta{"v1", "Node"}:
		return decodeInto(o, o.nodes, raw, h, at, func(v *corev1.Node) *metav1.ObjectMeta { return &v.ObjectMeta })
	case typeMeta{"networking.k8s.io/v1", "ServiceCIDR"}:
		return decodeInto(o, o.ranges, raw, h, at, func(v *networkingv1.ServiceCIDR) *metav1.ObjectMeta { return &v.ObjectMeta })
	case typeMeta{"v1", "Service"}:
		return decodeInto(o, o.services, raw, h, at, func(v *corev1.Service) *metav1.ObjectMeta { return &v.ObjectMeta })
	case typeMeta{"v1", "Pod"}:
		return decodeInto(o, o.pods, raw, h, at, func(v *corev1.Pod) *metav1.ObjectMeta { return &v.ObjectMeta })
	case typeMeta{"discovery.k8s.io/v1", "EndpointSlice"}:
		return decodeInto(o, o.slices, raw, h, at, func(v *discoveryv1.EndpointSlice) *metav1.ObjectMeta { return &v.ObjectMeta })
	case typeMeta{"multicluster.x-k8s.io/v1alpha1", "ServiceImport"}:
		return decodeInto(o, o.imports, raw, h, at, func(v *fromapi.ServiceImport) *metav1.ObjectMeta { return &v.ObjectMeta })
	}
	if h.Kind == "EndpointSlice" || h.Kind == "ServiceImport" {
		o.warnings = append(o.warnings, fmt.Sprintf("%s: %s of version %s is passed over: it is read in discovery.k8s.io/v1 and multicluster.x-k8s.io/v1alpha1",
			at, h.Kind, h.APIVersion))
	}
	return nil
}

// decodeInto adds an object to its table. A field that does not exist is a warning, for a newer API server may have it;
// one of the wrong type, or twice, is an error.
func decodeInto[T any](o *objects, into table[T], raw []byte, h *header, at place, meta func(*T) *metav1.ObjectMeta) error {
	value := new(T)
	strict, err := kjson.UnmarshalStrict(raw, value)
	if err != nil {
		return fmt.Errorf("%s: %s %q: %w", at, h.Kind, h.Metadata.Name, inWords(err))
	}
	_, partial := any(value).(*fromapi.ServiceImport) // its type has no more than is read
	for _, err := range strict {
		if !strings.HasPrefix(err.Error(), "unknown field") {
			return fmt.Errorf("%s: %s %q: %w", at, h.Kind, h.Metadata.Name, err)
		}
		if !partial {
			o.warnings = append(o.warnings, fmt.Sprintf("%s: %s %q: %v", at, h.Kind, h.Metadata.Name, err))
		}
	}
	m := meta(value)
	if m.Name == "" {
		return fmt.Errorf("%s: %s: metadata.name is missing", at, h.Kind)
	}
	switch h.Kind {
	case "Namespace", "Node", "ServiceCIDR":
		m.Namespace = ""
	default:
		m.Namespace = cmp.Or(m.Namespace, metav1.NamespaceDefault)
	}
	key := cluster.Key{Namespace: m.Namespace, Name: m.Name}
	if first, twice := into[key]; twice {
		return fmt.Errorf("%s: %s %q is there twice, first in %s", at, h.Kind, key, first.place)
	}
	into[key] = found[T]{value, at}
	return nil
}

// inWords turns the JSON package's account of a wrong type, which names Go's, into one of the field.
func inWords(err error) error {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return err
	}
	field := cmp.Or(wrong.Field, "the object")
	return fmt.Errorf("%s: a %s stands where a value of type %s belongs", field, wrong.Value, wrong.Type.Kind())
}
