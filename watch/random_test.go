package watch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/watch/wire"
)

// Whatever happens to objects, connections and histories, in the end the sink knows what the server knows. That changes follow
// from one another is checked by the recorder at each.
func TestRandomLife(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			api := newFakeAPI(t)
			var trouble atomic.Bool
			trouble.Store(true)
			var requests atomic.Uint64
			api.before = func(w http.ResponseWriter, r *http.Request) bool {
				return trouble.Load() && hinder(api, w, r, rand.New(rand.NewPCG(seed, requests.Add(1))))
			}
			r, _ := watching(t, api, func(o *Options) { o.Needs.Pods = true; o.Log = nil })
			for range 300 {
				step(api, random)
			}
			trouble.Store(false)
			last := []string{"services prod/last", "endpointslices prod/last", "pods prod/last", "namespaces last"}
			for _, o := range []object{service("last", "10.96.8.8"), slice("last", "10.0.0.8"), pod("last", "10.0.0.8"), namespace("last")} {
				api.set(o)
			}
			for _, name := range last {
				r.waitFor("+ " + name)
			}
			compare(t, api, r)
		})
	}
}

// step changes one object, or what the server remembers.
func step(api *fakeAPI, random *rand.Rand) {
	n := random.IntN(8)
	ip := fmt.Sprint("10.96.0.", random.IntN(4))
	objects := []object{service(fmt.Sprint("s", n), ip), slice(fmt.Sprint("e", n), ip), pod(fmt.Sprint("p", n), ip), namespace(fmt.Sprint("n", n))}
	o := objects[random.IntN(len(objects))]
	switch random.IntN(12) {
	case 0:
		api.cut()
	case 1:
		api.forget(func(set, del func(object)) { set(o); del(objects[0]) })
	case 2:
		api.CloseClientConnections()
	case 3, 4, 5:
		api.del(o)
	default:
		api.set(o)
	}
}

// hinder answers now and then as a server in trouble would.
func hinder(api *fakeAPI, w http.ResponseWriter, r *http.Request, random *rand.Rand) bool {
	switch random.IntN(6) {
	case 0:
		http.Error(w, "not now", http.StatusServiceUnavailable)
	case 1:
		encodingFor(w, r)
		w.Write(bytes.Repeat([]byte{byte(random.IntN(256))}, random.IntN(64)))
	case 2:
		panic(http.ErrAbortHandler)
	case 3:
		if r.URL.Query().Has("watch") {
			encodingFor(w, r)
			w.Write(encodeEvent(wire.Protobuf, wire.Error, expired()))
			return true
		}
		// A list that ends in the midst of an item.
		api.mu.Lock()
		defer api.mu.Unlock()
		var items []object
		for _, o := range api.objects[r.URL.Path] {
			items = append(items, o)
		}
		body := encodeItems(encodingFor(w, r), metav1.ListMeta{ResourceVersion: fmt.Sprint(api.version)}, items)
		w.Write(body[:len(body)*3/4])
	default:
		return false
	}
	return true
}

var kindsOf = map[string]cluster.Kind{
	"/api/v1/namespaces": cluster.KindNamespace, "/api/v1/services": cluster.KindService, "/api/v1/pods": cluster.KindPod,
	"/apis/discovery.k8s.io/v1/endpointslices": cluster.KindSlice,
}

// compare checks that the sink knows each object of the server as it is, and no other.
func compare(t *testing.T, api *fakeAPI, r *recorder) {
	t.Helper()
	api.mu.Lock()
	defer api.mu.Unlock()
	var want []string
	for path, objects := range api.objects {
		for _, o := range objects {
			res := resourceOf(kindsOf[path], cluster.Needs{})
			reduced := must(res.reduce(must(o.(marshaler).Marshal()), wire.Protobuf))
			name := res.kind.String() + " " + reduced.key.String()
			want = append(want, name)
			if got := r.state[name]; got == nil || !got.Equal(reduced.value) {
				t.Errorf("%s is %+v, should be %+v", name, got, reduced.value)
			}
		}
	}
	for name := range r.state {
		if !slices.Contains(want, name) {
			t.Errorf("%s is gone, but known", name)
		}
	}
}

// All events that came at once are told at once, and what came alone is told alone.
func TestBatches(t *testing.T) {
	var together []byte
	for i := range 100 {
		together = append(together, encodeEvent(wire.Protobuf, wire.Added, service(fmt.Sprint("s", i), "10.96.0.1"))...)
	}
	alone := encodeEvent(wire.Protobuf, wire.Modified, service("s0", "10.96.0.2"))
	gone := encodeEvent(wire.Protobuf, wire.Deleted, service("s0", "10.96.0.2"))
	r := newRecorder(t)
	f := &follower{res: resourceOf(cluster.KindService, cluster.Needs{}), store: newStore(&serialSink{sink: r})}
	var stream []io.Reader // each is read by itself
	for _, portion := range [][]byte{together, alone, alone[:10], alone[10:], gone} {
		stream = append(stream, bytes.NewReader(portion))
	}
	f.hear(wire.NewEvents(io.MultiReader(stream...), wire.Protobuf))
	if r.calls != 3 || len(r.log) != 102 {
		t.Errorf("%d changes in %d calls", len(r.log), r.calls)
	}
}

// A list is told in portions, so that no more than one of them is held.
func TestListInPortions(t *testing.T) {
	r := newRecorder(t)
	s := newStore(&serialSink{sink: r})
	res := resourceOf(cluster.KindSlice, cluster.Needs{})
	body := encode(wire.Protobuf, manySlices(2*batch+1, 1))
	readList(t, s, res, body)
	if r.calls != 3 || len(r.log) != 2*batch+1 {
		t.Errorf("%d changes in %d calls", len(r.log), r.calls)
	}
	readList(t, s, res, body)
	if r.calls != 3 {
		t.Errorf("the same list again was told in %d calls", r.calls-3)
	}
}

// While a store is brought up to date by a list it takes no more memory than before: what is in the list is there once.
func TestListInPlace(t *testing.T) {
	const endpoints = 20
	s := newStore(&serialSink{sink: discard{}})
	res := resourceOf(cluster.KindSlice, cluster.Needs{})
	body := encode(wire.Protobuf, manySlices(1000, endpoints))
	before := liveHeap()
	readList(t, s, res, body)
	steady := liveHeap() - before
	peak := uint64(0)
	watched := *res
	count := 0
	watched.reduce = func(object []byte, enc wire.Encoding) (reduced, error) {
		if count++; count%100 == 0 {
			peak = max(peak, liveHeap()-before)
		}
		return res.reduce(object, enc)
	}
	readList(t, s, &watched, body)
	runtime.KeepAlive(s)
	t.Logf("%d bytes per endpoint; at most %d while listing again", steady/1000/endpoints, peak/1000/endpoints)
	if limit := steady + steady/4; peak > limit {
		t.Errorf("a second list took %d bytes, with %d in the steady state", peak, steady)
	}
}

// What is gone leaves nothing behind, however much has come and gone.
func TestStoreForgets(t *testing.T) {
	s := newStore(&serialSink{sink: discard{}})
	turn := func(n int) {
		for i := range n {
			s.put(&cluster.Pod{Namespace: "prod", Name: fmt.Sprint("pod-", i)})
			s.remove(cluster.Key{Namespace: "prod", Name: fmt.Sprint("pod-", i-100)})
		}
		s.mark()
		s.sweep()
	}
	turn(10_000)
	before := liveHeap()
	turn(500_000)
	if after := liveHeap(); after > before+before/4 {
		t.Errorf("%d bytes after 10,000 Pods, %d after 500,000", before, after)
	}
	runtime.KeepAlive(s)
}

// No object, however mangled, stops the server.
func FuzzReduce(f *testing.F) {
	f.Add(must(service("web", "10.96.1.1").Marshal()), must(json.Marshal(serviceImport("imp", "10.96.9.1"))))
	f.Add(must(slice("web-1", "10.0.0.1").Marshal()), []byte(`{"metadata":{"name":"x"},"spec":{"externalName":1}}`))
	f.Add(must(pod("web-0", "10.0.0.1").Marshal()), []byte(`{"endpoints":[{"addresses":["::1"]}],"addressType":"FQDN"}`))
	f.Add(must(node("node-1").Marshal()), []byte(`null`))
	needs := everything
	needs.PodNames = true
	f.Fuzz(func(t *testing.T, protobuf, json []byte) {
		for kind := range cluster.Kinds {
			res := resourceOf(kind, needs)
			for enc, object := range map[wire.Encoding][]byte{wire.Protobuf: protobuf, wire.JSON: json} {
				r, err := res.reduce(object, enc)
				if err == nil && r.value == nil && r.flaw == nil {
					t.Errorf("%s: an object became nothing, and nobody says why", kind)
				}
				if r.value != nil && (r.value.Key() != r.key || r.value.Kind() != kind) {
					t.Errorf("%s %s became %s %s", kind, r.key, r.value.Kind(), r.value.Key())
				}
			}
		}
	})
}
