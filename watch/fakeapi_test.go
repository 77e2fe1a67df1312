package watch

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/waypost/waypost/watch/wire"
)

// object is what the fake API server can hold.
type object interface {
	metav1.Object
	runtime.Object
}

// fakeAPI is an API server of one process: lists and watches over real connections, in the encodings of the real one, with a
// history that can be forgotten and connections that can be cut.
type fakeAPI struct {
	*httptest.Server
	// before sees each request first, and may answer it in the server's stead. Set it before the first request.
	before func(w http.ResponseWriter, r *http.Request) (answered bool)
	json   bool // the server speaks nothing else
	paged  bool // lists are answered in pages even for resourceVersion=0, as without a watch cache

	mu        sync.Mutex
	changed   *sync.Cond
	version   int
	forgotten int // watches from before this version are too old
	objects   map[string]map[string]object
	history   []pastEvent
	cuts      int // counts how often all watches were cut
	requests  []string
}

type pastEvent struct {
	version int
	path    string
	word    string
	object  object
}

// newFakeAPI starts a server that speaks HTTP/1.1 without encryption.
func newFakeAPI(t *testing.T) *fakeAPI {
	t.Helper()
	f := unstartedFakeAPI(t)
	f.Start()
	return f
}

// newSecureAPI starts a server that speaks HTTP/2 over TLS, as real ones do, and returns the PEM file of its authority too.
func newSecureAPI(t *testing.T) (f *fakeAPI, caFile string) {
	t.Helper()
	f = unstartedFakeAPI(t)
	f.EnableHTTP2 = true
	f.StartTLS()
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	write(t, caFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw})))
	return f, caFile
}

func unstartedFakeAPI(t *testing.T) *fakeAPI {
	f := &fakeAPI{objects: map[string]map[string]object{}, version: 1}
	f.changed = sync.NewCond(&f.mu)
	f.Server = httptest.NewUnstartedServer(f)
	t.Cleanup(func() {
		f.CloseClientConnections()
		f.Close()
	})
	return f
}

// set creates or updates an object, del deletes one. Both copy.
func (f *fakeAPI) set(o object) { f.change(o, wire.Modified) }
func (f *fakeAPI) del(o object) { f.change(o, wire.Deleted) }

func (f *fakeAPI) change(o object, word string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changeLocked(o, word)
	f.changed.Broadcast()
}

func (f *fakeAPI) changeLocked(o object, word string) {
	o = o.DeepCopyObject().(object)
	f.version++
	o.SetResourceVersion(strconv.Itoa(f.version))
	path := pathOf(o)
	if f.objects[path] == nil {
		f.objects[path] = map[string]object{}
	}
	key := o.GetNamespace() + "/" + o.GetName()
	if word == wire.Deleted {
		delete(f.objects[path], key)
	} else {
		if f.objects[path][key] == nil {
			word = wire.Added
		}
		f.objects[path][key] = o
	}
	f.history = append(f.history, pastEvent{f.version, path, word, o})
}

// cut ends all watches.
func (f *fakeAPI) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cuts++
	f.changed.Broadcast()
}

// forget cuts all watches, changes objects, and makes every watch from before too old, all at one moment.
func (f *fakeAPI) forget(change func(set, del func(object))) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cuts++
	if change != nil {
		change(
			func(o object) { f.changeLocked(o, wire.Modified) },
			func(o object) { f.changeLocked(o, wire.Deleted) },
		)
	}
	f.version++
	f.forgotten = f.version
	f.history = nil
	f.changed.Broadcast()
}

// asked returns the requests so far, as "list PATH?QUERY" or "watch PATH?QUERY".
func (f *fakeAPI) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.requests)
}

// count returns how many requests so far begin with prefix.
func (f *fakeAPI) count(prefix string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.countLocked(prefix)
}

func (f *fakeAPI) countLocked(prefix string) (n int) {
	for _, r := range f.requests {
		if strings.HasPrefix(r, prefix) {
			n++
		}
	}
	return n
}

// waitAsked returns when there have been n requests that begin with prefix.
func (f *fakeAPI) waitAsked(t *testing.T, prefix string, n int) {
	t.Helper()
	late := false
	timer := time.AfterFunc(patience, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		late = true
		f.changed.Broadcast()
	})
	defer timer.Stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.countLocked(prefix) < n {
		if late {
			t.Fatalf("waited in vain for %d of %q; asked so far:\n%s", n, prefix, strings.Join(f.requests, "\n"))
		}
		f.changed.Wait()
	}
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	verb := "list"
	if r.URL.Query().Get("watch") != "" {
		verb = "watch"
	}
	f.mu.Lock()
	f.requests = append(f.requests, verb+" "+r.URL.RequestURI())
	f.changed.Broadcast()
	f.mu.Unlock()
	if f.before != nil && f.before(w, r) {
		return
	}
	if verb == "watch" {
		f.watch(w, r)
		return
	}
	f.list(w, r)
}

func (f *fakeAPI) list(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	all := f.objects[r.URL.Path]
	names := slices.Sorted(maps.Keys(all))
	q := r.URL.Query()
	meta := metav1.ListMeta{ResourceVersion: strconv.Itoa(f.version)}
	if limit, _ := strconv.Atoi(q.Get("limit")); f.paged && limit > 0 {
		begin, _ := strconv.Atoi(q.Get("continue"))
		end := min(begin+2, len(names)) // never mind how many
		if end < len(names) {
			meta.Continue = strconv.Itoa(end)
		}
		names = names[begin:end]
	}
	var items []object
	for _, name := range names {
		items = append(items, all[name])
	}
	f.mu.Unlock()
	w.Write(encodeItems(f.encoding(w, r), meta, items))
}

func (f *fakeAPI) watch(w http.ResponseWriter, r *http.Request) {
	enc := f.encoding(w, r)
	since, err := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if since < f.forgotten {
		w.Write(encodeEvent(enc, wire.Error, expired()))
		return
	}
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	gone := context.AfterFunc(r.Context(), func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.changed.Broadcast()
	})
	defer gone()
	told := since
	for cuts := f.cuts; cuts == f.cuts && r.Context().Err() == nil; f.changed.Wait() {
		var body []byte
		for _, e := range f.history {
			if e.version > told && e.path == r.URL.Path {
				body = append(body, encodeEvent(enc, e.word, e.object)...)
			}
		}
		told = max(told, f.version)
		w.Write(body)
		w.(http.Flusher).Flush()
	}
}

func expired() *metav1.Status {
	return &metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Reason: metav1.StatusReasonExpired, Code: http.StatusGone,
		Message: "too old resource version",
	}
}

// refuse answers with a Status, as API servers do.
func refuse(w http.ResponseWriter, r *http.Request, code int, reason metav1.StatusReason, message string) {
	enc := encodingFor(w, r)
	w.WriteHeader(code)
	w.Write(encode(enc, &metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Reason: reason, Code: int32(code), Message: message,
	}))
}

func (f *fakeAPI) encoding(w http.ResponseWriter, r *http.Request) wire.Encoding {
	if f.json {
		r.Header.Del("Accept")
	}
	return encodingFor(w, r)
}

func encodingFor(w http.ResponseWriter, r *http.Request) wire.Encoding {
	if strings.HasPrefix(r.Header.Get("Accept"), "application/vnd.kubernetes.protobuf") {
		w.Header().Set("Content-Type", "application/vnd.kubernetes.protobuf")
		return wire.Protobuf
	}
	w.Header().Set("Content-Type", "application/json")
	return wire.JSON
}

func pathOf(o object) string {
	kind := strings.ToLower(o.GetObjectKind().GroupVersionKind().Kind) + "s"
	switch group := o.GetObjectKind().GroupVersionKind().Group; group {
	case "":
		return "/api/v1/" + kind
	default:
		return "/apis/" + group + "/" + o.GetObjectKind().GroupVersionKind().Version + "/" + kind
	}
}

// encodeItems writes a list; the encodings it is made of are tested against the real encoder in package wire.
func encodeItems(enc wire.Encoding, meta metav1.ListMeta, items []object) []byte {
	kind := metav1.TypeMeta{Kind: "AnyList", APIVersion: "v1"}
	if enc == wire.JSON {
		return must(json.Marshal(map[string]any{"kind": kind.Kind, "items": items, "metadata": meta}))
	}
	raw := appendField(nil, 1, must(meta.Marshal()))
	for _, o := range items {
		raw = appendField(raw, 2, must(o.(marshaler).Marshal()))
	}
	unknown := runtime.Unknown{TypeMeta: runtime.TypeMeta{Kind: kind.Kind, APIVersion: "v1"}, Raw: raw}
	return append([]byte("k8s\x00"), must(unknown.Marshal())...)
}

// marshaler is what all types of the API but those of extensions are.
type marshaler interface{ Marshal() ([]byte, error) }

func appendField(to []byte, number byte, value []byte) []byte {
	to = append(to, number<<3|2)
	for n := len(value); ; n >>= 7 {
		if n < 0x80 {
			to = append(to, byte(n))
			break
		}
		to = append(to, byte(n)|0x80)
	}
	return append(to, value...)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprint("encode: ", err)) // of a test's own objects
	}
	return v
}
