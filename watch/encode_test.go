package watch

import (
	"bytes"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
)

// encodeList encodes as API servers do, with their own encoder.
func encodeList(tb testing.TB, list runtime.Object) []byte {
	tb.Helper()
	scheme := runtime.NewScheme()
	corev1.AddToScheme(scheme)
	discoveryv1.AddToScheme(scheme)
	kinds, _, err := scheme.ObjectKinds(list)
	if err != nil {
		tb.Fatal(err)
	}
	list.GetObjectKind().SetGroupVersionKind(kinds[0])
	var body bytes.Buffer
	if err := protobuf.NewSerializer(scheme, scheme).Encode(list, &body); err != nil {
		tb.Fatal(err)
	}
	return body.Bytes()
}
