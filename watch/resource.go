package watch

import (
	"encoding/json"
	"errors"
	"net/url"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/watch/fromapi"
	"github.com/waypost/waypost/watch/wire"
)

// resource is what there is to know of one kind: where the API has it, which part of it to ask for, and how to read it.
type resource struct {
	kind   cluster.Kind
	group  schema.GroupResource // as errors name it
	path   string               // below the API server's URL
	goType string               // as CoreDNS's log lines name it
	labels string               // a label selector, "" for all
	fields string               // a field selector, "" for all
	accept string
	reduce reducer
	// optional says that older servers do not have the kind, which then counts as there being none of it.
	optional bool
}

// reducer reads one object. The results are good until it is called again, but for the value, which stays.
type reducer func(object []byte, enc wire.Encoding) (reduced, error)

// reduced is an object of the API, read. Its flaw, where there is one, is fromapi's error: with a value, something was left out of it;
// without, the object is to be left out as a whole.
type reduced struct {
	key     cluster.Key
	version string         // the object's resourceVersion
	value   cluster.Object // nil where there is none
	flaw    error
}

// runningPods leaves Pods that have ended to the server to filter: there may be many.
const runningPods = "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Unknown"

// resourceOf returns the resource of a kind, with a converter of its own.
func resourceOf(kind cluster.Kind, needs cluster.Needs) *resource {
	c := fromapi.New(needs)
	res := &resource{kind: kind, path: "/api/v1/" + kind.String(), accept: wire.Accept, group: schema.GroupResource{Resource: kind.String()}}
	switch kind {
	case cluster.KindNamespace:
		res.goType, res.labels = "*v1.Namespace", needs.NamespaceLabels
		res.reduce = reduceWith(c.Namespace, empty, trimmed())
	case cluster.KindService:
		res.goType, res.labels = "*v1.Service", needs.Labels
		if needs.Routed {
			res.fields = "spec.clusterIP!=None"
		}
		res.reduce = reduceWith(c.Service, empty, trimmed())
	case cluster.KindSlice:
		res.path, res.group.Group = "/apis/discovery.k8s.io/v1/endpointslices", discoveryv1.GroupName
		res.goType, res.labels = "*v1.EndpointSlice", needs.Labels
		if needs.Routed {
			res.labels = withLabels(needs.Labels, "!"+corev1.IsHeadlessService)
		}
		res.reduce = reduceWith(c.Slice, emptySlice, trimmedSlice(needs))
	case cluster.KindPod:
		res.goType, res.labels, res.fields = "*v1.Pod", needs.Labels, runningPods
		res.reduce = reduceWith(c.Pod, empty, trimmed(podSpec))
	case cluster.KindImport:
		res.path, res.group.Group = "/apis/multicluster.x-k8s.io/v1alpha1/serviceimports", "multicluster.x-k8s.io"
		res.goType, res.labels = "*v1alpha1.ServiceImport", needs.NamespaceLabels
		res.accept = "application/json" // custom resources have no other encoding
		res.reduce = reduceWith(c.Import, empty, trimmed())
	case cluster.KindNode:
		res.goType = "*v1.Node"
		if needs.NodeName != "" && !needs.NodeAddresses {
			res.fields = "metadata.name=" + needs.NodeName
		}
		res.reduce = reduceWith(c.Node, empty, trimmedNode())
	case cluster.KindRange:
		res.path, res.group.Group = "/apis/networking.k8s.io/v1/servicecidrs", networkingv1.GroupName
		res.goType, res.optional = "*v1.ServiceCIDR", true // since Kubernetes 1.33
		res.reduce = reduceWith(c.Range, empty, trimmed())
	}
	return res
}

// withLabels is a label selector that selects what both do; "" selects all.
func withLabels(a, b string) string {
	if a == "" {
		return b
	}
	return a + "," + b
}

// query returns the parameters of a request that says which objects are wanted.
func (r *resource) query() url.Values {
	q := url.Values{}
	if r.labels != "" {
		q.Set("labelSelector", r.labels)
	}
	if r.fields != "" {
		q.Set("fieldSelector", r.fields)
	}
	return q
}

// Fields that fromapi does not read, by their numbers in the API's protobuf definitions.
const (
	metaGenerateName    = 2
	metaSelfLink        = 4
	metaUID             = 5
	metaOwners          = 13
	metaFinalizers      = 14
	metaManagedFields   = 17
	podSpec             = 2
	nodeConditions      = 4
	nodeInfo            = 7
	nodeImages          = 8
	endpointTargetRef   = 4
	endpointTopologyOld = 5
)

// Where an object has its metadata, a Node its status, and a slice its endpoints.
const (
	objectMeta     = 1
	nodeStatus     = 3
	sliceEndpoints = 2
)

// trimmed drops an object's fields besides those of its metadata.
func trimmed(fields ...uint64) *wire.Trim {
	meta := wire.Drop(metaGenerateName, metaSelfLink, metaUID, metaOwners, metaFinalizers, metaManagedFields)
	return wire.Drop(fields...).Within(objectMeta, meta)
}

// trimmedNode drops what makes a Node large, and what its kubelet writes anew every few minutes.
func trimmedNode() *wire.Trim {
	return trimmed().Within(nodeStatus, wire.Drop(nodeConditions, nodeInfo, nodeImages))
}

func trimmedSlice(needs cluster.Needs) *wire.Trim {
	endpoint := wire.Drop(endpointTargetRef, endpointTopologyOld)
	if needs.PodNames {
		endpoint = wire.Drop(endpointTopologyOld)
	}
	return trimmed().Within(sliceEndpoints, endpoint)
}

// keptObject bounds, in bytes, the space that is kept for the next object.
const keptObject = 256 << 10

// reduceWith returns a reducer that reads every object, without what trim drops, into the same struct of type T, converts it
// to a V and empties it.
func reduceWith[T any, P interface {
	*T
	metav1.Object
}, V interface {
	comparable
	cluster.Object
}](convert func(P) (V, error), empty func(P), trim *wire.Trim) reducer {
	read := P(new(T))
	var space []byte
	return func(object []byte, enc wire.Encoding) (reduced, error) {
		defer empty(read)
		if enc == wire.Protobuf {
			object = trim.Append(space[:0], object)
			if space = object; cap(space) > keptObject {
				space = nil
			}
		}
		if err := unmarshal(object, enc, read); err != nil {
			return reduced{}, err
		}
		r := reduced{
			key:     cluster.Key{Namespace: read.GetNamespace(), Name: read.GetName()},
			version: read.GetResourceVersion(),
		}
		var none V
		value, err := convert(read)
		if value != none {
			r.value, r.key = value, value.Key()
		}
		r.flaw = err
		return r, nil
	}
}

func empty[T any](read *T) { *read = *new(T) }

// emptySlice keeps the room for endpoints, which is a third of all that reading a slice allocates.
func emptySlice(read *discoveryv1.EndpointSlice) {
	room := read.Endpoints
	clear(room)
	*read = discoveryv1.EndpointSlice{Endpoints: room[:0]}
}

var errNoProtobuf = errors.New("the API has no protobuf encoding for this kind")

func unmarshal(object []byte, enc wire.Encoding, into any) error {
	if enc == wire.JSON {
		return json.Unmarshal(object, into)
	}
	m, ok := into.(interface{ Unmarshal([]byte) error })
	if !ok {
		return errNoProtobuf
	}
	return m.Unmarshal(object)
}
