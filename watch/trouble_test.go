package watch

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waypost/waypost/cluster"
)

// A list that breaks off, or that is something else, deletes nothing.
func TestBadLists(t *testing.T) {
	api := newFakeAPI(t)
	bad := []func(w http.ResponseWriter, body []byte){
		func(w http.ResponseWriter, body []byte) { w.Write(body[:len(body)/2]) },
		func(w http.ResponseWriter, body []byte) {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			w.Write(body[:len(body)-10])
		},
		func(w http.ResponseWriter, body []byte) {},
		func(w http.ResponseWriter, body []byte) { w.Write([]byte("<html>welcome</html>")) },
		func(w http.ResponseWriter, body []byte) {
			w.Header().Set("Content-Type", "text/html")
			w.Write(body)
		},
	}
	next := -1 // the first list is good
	api.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Has("watch") || r.URL.Path != "/api/v1/services" {
			return false
		}
		if next++; next == 0 || next > len(bad) {
			return false
		}
		api.mu.Lock()
		defer api.mu.Unlock()
		items := []object{api.objects[r.URL.Path]["prod/a"], api.objects[r.URL.Path]["prod/b"]}
		bad[next-1](w, encodeItems(encodingFor(w, r), metav1.ListMeta{ResourceVersion: fmt.Sprint(api.version)}, items))
		return true
	}
	api.set(service("a", "10.96.0.1"))
	api.set(service("b", "10.96.0.2"))
	r, _ := watching(t, api, nil)
	r.waitSynced(3)
	r.wait("all", func() bool { return len(r.state) == 2 })
	api.forget(nil)
	api.waitAsked(t, "list /api/v1/services", 2+len(bad))
	api.set(service("last", "10.96.8.8"))
	r.waitFor("+ services prod/last")
	for _, line := range r.taken() {
		if line[0] == '-' {
			t.Errorf("told %q", line)
		}
	}
}

// A server that has no watch cache answers in pages; one that forgets a page's token is asked anew.
func TestPages(t *testing.T) {
	api := newFakeAPI(t)
	api.paged = true
	refused := false
	api.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("continue") != "4" || refused {
			return false
		}
		refused = true
		refuse(w, r, http.StatusGone, metav1.StatusReasonExpired, "the provided continue parameter is too old")
		return true
	}
	for i := range 7 {
		api.set(service(fmt.Sprint("s", i), fmt.Sprint("10.96.0.", i)))
	}
	r, _ := watching(t, api, nil)
	r.waitSynced(3)
	r.wait("all", func() bool { return len(r.state) == 7 })
	var got []string
	for _, request := range api.asked() {
		if query, ok := strings.CutPrefix(request, "list /api/v1/services?"); ok {
			got = append(got, query)
		}
	}
	want := []string{
		"limit=500&resourceVersion=0", "continue=2&limit=500", "continue=4&limit=500",
		"limit=500", "continue=2&limit=500", "continue=4&limit=500", "continue=6&limit=500",
	}
	if !slices.Equal(got, want) {
		t.Errorf("asked for\n%s", strings.Join(got, "\n"))
	}
}

// A server that was set back does not know the version we have seen, and refuses a list that asks for it. It is asked for whatever
// there is. A watch it may take all the same, as one that has nothing to tell yet: then its silence leads to the list.
func TestServerSetBack(t *testing.T) {
	for _, refuses := range []string{"lists and watches", "lists"} {
		t.Run(refuses, func(t *testing.T) {
			api := newFakeAPI(t)
			api.version = 1000
			api.before = func(w http.ResponseWriter, r *http.Request) bool {
				since := 0
				fmt.Sscan(r.URL.Query().Get("resourceVersion"), &since)
				api.mu.Lock()
				now := api.version
				api.mu.Unlock()
				if since <= now || refuses == "lists" && r.URL.Query().Get("watch") != "" {
					return false
				}
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusGatewayTimeout)
				fmt.Fprintf(w, `{"kind":"Status","status":"Failure","reason":"Timeout","code":504,"message":"Timeout: Too large resource version: %d, current: %d",`+
					`"details":{"causes":[{"reason":"ResourceVersionTooLarge"}],"retryAfterSeconds":0}}`, since, now)
				return true
			}
			api.set(service("a", "10.96.0.1"))
			r, _ := watchingWith(t, api, nil, func(a *APIServer) { a.client.silence = 50 * time.Millisecond })
			r.waitSynced(3)
			api.mu.Lock()
			api.version, api.history = 5, nil
			api.mu.Unlock()
			api.cut()
			api.set(service("b", "10.96.0.2"))
			r.waitFor("+ services prod/b")
		})
	}
}

// What the API should never send is skipped, counted and logged once; the rest is served.
func TestBadObjects(t *testing.T) {
	api := newFakeAPI(t)
	api.set(service("good", "10.96.0.1"))
	for i := range 50 {
		api.set(service(fmt.Sprint("bad.", i), "10.96.0.2"))
	}
	api.set(service("half", "abc"))
	counted := &counts{}
	logged := &lines{}
	r, _ := watching(t, api, func(o *Options) { o.Log, o.Metrics = logged.add, counted })
	r.waitSynced(3)
	r.wait("the good one", func() bool { return len(r.state) == 2 })
	api.set(service("also-good", "10.96.0.3"))
	r.waitFor("+ services prod/also-good")
	if n := counted.of("skipped services"); n != 51 {
		t.Errorf("%d were skipped", n)
	}
	want := `skipped what the API should not have sent: services: "prod/bad.0": the name is not a DNS label`
	if got := logged.all(); len(got) != 1 || got[0] != want {
		t.Errorf("logged %q", got)
	}
}

// An object that turns bad is gone; a delete of a bad one is no harm.
func TestObjectTurnsBad(t *testing.T) {
	api := newFakeAPI(t)
	r, _ := watching(t, api, nil)
	r.waitSynced(3)
	good := service("out", "")
	good.Spec.Type, good.Spec.ExternalName = corev1.ServiceTypeExternalName, "example.com"
	bad := good.DeepCopy()
	bad.Spec.ExternalName = ".."
	for _, step := range []struct {
		do   func(object)
		o    object
		want string
	}{{api.set, good, "+"}, {api.set, bad, "-"}, {api.set, good, "+"}, {api.set, bad, "-"}, {api.del, bad, "-"}, {api.set, good, "+"}} {
		step.do(step.o)
		r.waitFor(step.want + " services prod/out")
	}
}

// Bytes that are no event lead to a new list.
func TestGarbageInWatch(t *testing.T) {
	api := newFakeAPI(t)
	garbage := []string{
		"\x00\x00\x00\x03abc",
		string(encodeEvent(0, "ADDED", namespace("in-JSON"))),
		strings.Repeat("\xff", 4096),
		"\x00\x00\x00\x00",
	}
	sent := 0
	api.before = func(w http.ResponseWriter, r *http.Request) bool {
		if !r.URL.Query().Has("watch") || r.URL.Path != "/api/v1/services" || sent == len(garbage) {
			return false
		}
		encodingFor(w, r)
		fmt.Fprint(w, garbage[sent])
		sent++
		return true
	}
	r, _ := watching(t, api, nil)
	r.waitSynced(3)
	api.set(service("a", "10.96.0.1"))
	r.waitFor("+ services prod/a")
	api.waitAsked(t, "watch /api/v1/services", len(garbage)+1)
	if sent != len(garbage) {
		t.Errorf("%d pieces of garbage were sent", sent)
	}
}

// While the server is away the sink keeps what it has; each kind is logged once.
func TestServerAway(t *testing.T) {
	api := newFakeAPI(t)
	var mu sync.Mutex
	away := true
	api.before = func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if away {
			http.Error(w, "apiserver not ready", http.StatusServiceUnavailable)
		}
		return away
	}
	api.set(service("a", "10.96.0.1"))
	logged := &lines{}
	r, _ := watching(t, api, func(o *Options) { o.Log = logged.add })
	api.waitAsked(t, "list", 20)
	eventually(t, "three lines", func() bool { return len(logged.all()) >= 3 })
	mu.Lock()
	away = false
	mu.Unlock()
	r.waitSynced(3)
	r.waitFor("+ services prod/a")
	got := logged.all()
	slices.Sort(got)
	want := []string{
		"Failed to watch: failed to list *v1.EndpointSlice: the server is currently unable to handle the request (get endpointslices.discovery.k8s.io)",
		"Failed to watch: failed to list *v1.Namespace: the server is currently unable to handle the request (get namespaces)",
		"Failed to watch: failed to list *v1.Service: the server is currently unable to handle the request (get services)",
	}
	if !slices.Equal(got, want) {
		t.Errorf("logged\n%s", strings.Join(got, "\n"))
	}
}

// A follower that gets through after failures says so, and one that waits hears it.
func TestRevival(t *testing.T) {
	api := newFakeAPI(t)
	var tries atomic.Int32
	api.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Has("watch") || tries.Add(1)%3 == 0 {
			return false // each list succeeds at its third try
		}
		http.Error(w, "not yet", http.StatusServiceUnavailable)
		return true
	}
	r := newRecorder(t)
	var back revival
	start := func(kind cluster.Kind, min time.Duration) {
		source, err := NewAPIServer(Options{Access: Access{Endpoint: api.URL}})
		if err != nil {
			t.Fatal(err)
		}
		f := &follower{
			client: source.client, res: resourceOf(kind, cluster.Needs{}), store: newStore(&serialSink{sink: r}),
			report: source.report, retry: backoff{min: min}, revival: &back, stale: true,
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { f.run(ctx); close(done) }()
		t.Cleanup(func() { cancel(); <-done; source.client.close() })
	}
	said := back.listen()
	start(cluster.KindNamespace, time.Microsecond)
	r.waitSynced(1)
	select {
	case <-said:
	case <-time.After(patience):
		t.Error("nothing was said")
	}
	// The next one would wait for 15 s at least.
	begun := time.Now()
	start(cluster.KindService, time.Hour)
	eventually(t, "Services to be synced", func() bool {
		back.announce()
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.synced) == 2
	})
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it was not heard for %v", took)
	}
}

// One kind that may not be listed leaves the others alone.
func TestForbidden(t *testing.T) {
	api := newFakeAPI(t)
	api.before = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "slices") {
			return false
		}
		refuse(w, r, http.StatusForbidden, metav1.StatusReasonForbidden, `endpointslices.discovery.k8s.io is forbidden: User "dns" cannot list`)
		return true
	}
	api.set(service("a", "10.96.0.1"))
	logged := &lines{}
	r, _ := watching(t, api, func(o *Options) { o.Log = logged.add })
	r.waitSynced(2)
	r.waitFor("+ services prod/a")
	eventually(t, "a line", func() bool { return len(logged.all()) > 0 })
	want := `Failed to watch: failed to list *v1.EndpointSlice: endpointslices.discovery.k8s.io is forbidden: User "dns" cannot list`
	if got := logged.all(); len(got) != 1 || got[0] != want {
		t.Errorf("logged %q", got)
	}
}

// A kind that the server is too old for is empty, and not worth a line; one that ought to be there is.
func TestMissingKinds(t *testing.T) {
	api := newFakeAPI(t)
	api.before = func(w http.ResponseWriter, r *http.Request) bool {
		missing := strings.HasSuffix(r.URL.Path, "servicecidrs") || strings.HasSuffix(r.URL.Path, "serviceimports")
		if missing {
			http.NotFound(w, r)
		}
		return missing
	}
	logged := &lines{}
	r, _ := watching(t, api, func(o *Options) { o.Needs, o.Log = everything, logged.add })
	r.waitSynced(len(everything.Kinds()) - 1)
	r.waitFor("synced servicecidrs")
	eventually(t, "a line", func() bool { return len(logged.all()) > 0 })
	want := "Failed to watch: failed to list *v1alpha1.ServiceImport: the server could not find the requested resource (get serviceimports.multicluster.x-k8s.io)"
	if got := logged.all(); len(got) != 1 || got[0] != want {
		t.Errorf("logged %q", got)
	}
}
