package watch

import (
	"bytes"
	"encoding/json"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"

	"github.com/waypost/waypost/watch/wire"
)

// apiTypes returns the types of the API that lists are encoded from.
var apiTypes = sync.OnceValue(func() *runtime.Scheme {
	scheme := runtime.NewScheme()
	corev1.AddToScheme(scheme)
	discoveryv1.AddToScheme(scheme)
	networkingv1.AddToScheme(scheme)
	return scheme
})

// encode encodes as API servers do, with their own encoders.
func encode(enc wire.Encoding, o runtime.Object) []byte {
	if enc == wire.JSON {
		return append(must(json.Marshal(o)), '\n')
	}
	scheme := apiTypes()
	if kinds, _, err := scheme.ObjectKinds(o); err == nil {
		o.GetObjectKind().SetGroupVersionKind(kinds[0])
	}
	var body bytes.Buffer
	must(0, protobuf.NewSerializer(scheme, scheme).Encode(o, &body))
	return body.Bytes()
}

func encodeEvent(enc wire.Encoding, word string, o runtime.Object) []byte {
	event := &metav1.WatchEvent{Type: word, Object: runtime.RawExtension{Raw: encode(enc, o)}}
	if enc == wire.JSON {
		return append(must(json.Marshal(event)), '\n')
	}
	var body bytes.Buffer
	must(0, protobuf.NewRawSerializer(nil, nil).Encode(event, protobuf.LengthDelimitedFramer.NewFrameWriter(&body)))
	return body.Bytes()
}
