package wire

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// trimmed drops generateName, uid and managedFields, and the endpoints' targets.
func trimmed() *Trim { return Drop().Within(1, Drop(2, 5, 17)).Within(2, Drop(4)) }

func forget(s *discoveryv1.EndpointSlice) {
	s.GenerateName, s.UID, s.ManagedFields = "", "", nil
	for i := range s.Endpoints {
		s.Endpoints[i].TargetRef = nil
	}
}

func manyEndpoints(n int) *discoveryv1.EndpointSlice {
	yes, node := true, "node-1"
	s := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4, ObjectMeta: metav1.ObjectMeta{
		Name: "web-1", GenerateName: "web-", Namespace: "prod", UID: "0b6f8a5c-6a58-4f1e-9b0f-0d5b1f6d2a11", ResourceVersion: "7",
		Labels:        map[string]string{discoveryv1.LabelServiceName: "web"},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: strings.Repeat("m", 300)}},
	}}
	for i := range n {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{fmt.Sprintf("10.0.0.%d", i)}, NodeName: &node, Conditions: discoveryv1.EndpointConditions{Ready: &yes},
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: strings.Repeat("p", 200)},
		})
	}
	return s
}

// FuzzTrim: what can be decoded is the same as before but for what was dropped.
func FuzzTrim(f *testing.F) {
	for n := range 3 {
		b, err := manyEndpoints(n).Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)-1])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var want, got discoveryv1.EndpointSlice
		if want.Unmarshal(b) != nil {
			trimmed().Append(nil, b)
			return
		}
		forget(&want)
		out := trimmed().Append([]byte("before"), b)
		if err := got.Unmarshal(out[len("before"):]); err != nil {
			t.Fatalf("cannot be decoded any more: %v\n%x\n%x", err, b, out)
		}
		if !reflect.DeepEqual(&got, &want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
		if len(out) > len("before")+len(b) {
			t.Fatalf("%d bytes became %d", len(b), len(out))
		}
	})
}

func TestTrimDropsWhatNobodyReads(t *testing.T) {
	b, err := manyEndpoints(10).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if got := len(trimmed().Append(nil, b)); got > len(b)/4 {
		t.Errorf("%d bytes of %d are left", got, len(b))
	}
}
