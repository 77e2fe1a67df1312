package watch

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/waypost/waypost/cluster"
)

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{TypeMeta: metav1.TypeMeta{Kind: "Namespace", APIVersion: "v1"}, ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func service(name, ip string) *corev1.Service {
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{Kind: "Service", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: name},
		Spec:       corev1.ServiceSpec{ClusterIPs: []string{ip}},
	}
}

func slice(name string, addresses ...string) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		TypeMeta:   metav1.TypeMeta{Kind: "EndpointSlice", APIVersion: "discovery.k8s.io/v1"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: name},
		Endpoints:  []discoveryv1.Endpoint{{Addresses: addresses}},
	}
}

func pod(name, ip string) *corev1.Pod {
	return &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: name},
		Status:     corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: ip}}},
	}
}

func node(name string) *corev1.Node {
	return &corev1.Node{TypeMeta: metav1.TypeMeta{Kind: "Node", APIVersion: "v1"}, ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func serviceRange(name, cidr string) *networkingv1.ServiceCIDR {
	return &networkingv1.ServiceCIDR{
		TypeMeta:   metav1.TypeMeta{Kind: "ServiceCIDR", APIVersion: "networking.k8s.io/v1"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       networkingv1.ServiceCIDRSpec{CIDRs: []string{cidr}},
	}
}

func serviceImport(name, ip string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ServiceImport",
		"metadata": map[string]any{"namespace": "prod", "name": name},
		"spec":     map[string]any{"type": "ClusterSetIP", "ips": []any{ip}},
	}}
}

// watching starts a source over api with quick retries. The options may be changed first.
func watching(t *testing.T, api *fakeAPI, change func(*Options)) (*recorder, func()) {
	t.Helper()
	o := Options{Access: Access{Endpoint: api.URL}, Log: func(err error) { t.Log(err) }}
	if change != nil {
		change(&o)
	}
	source, err := NewAPIServer(o)
	if err != nil {
		t.Fatal(err)
	}
	source.retry = backoff{min: time.Millisecond, max: 5 * time.Millisecond}
	r := newRecorder(t)
	return r, r.follow(source)
}

var everything = cluster.Needs{Pods: true, Imports: true, Routes: true}

func TestEveryKind(t *testing.T) {
	for _, speaks := range []string{"protobuf", "JSON"} {
		t.Run(speaks, func(t *testing.T) {
			api := newFakeAPI(t)
			api.json = speaks == "JSON"
			testEveryKind(t, api)
		})
	}
}

func testEveryKind(t *testing.T, api *fakeAPI) {
	objects := map[string]object{
		"namespaces prod":           namespace("prod"),
		"services prod/web":         service("web", "10.96.1.1"),
		"endpointslices prod/web-1": slice("web-1", "10.0.0.1"),
		"pods prod/web-0":           pod("web-0", "10.0.0.1"),
		"serviceimports prod/imp":   serviceImport("imp", "10.96.9.1"),
		"nodes node-1":              node("node-1"),
		"servicecidrs kubernetes":   serviceRange("kubernetes", "10.96.0.0/12"),
	}
	for _, o := range objects {
		api.set(o)
	}
	r, _ := watching(t, api, func(o *Options) { o.Needs = everything })
	r.waitSynced(len(objects))
	slices.Sort(r.synced)
	if !slices.Equal(r.synced, everything.Kinds()) {
		t.Errorf("synced %v", r.synced)
	}
	for name, o := range objects {
		r.waitFor("+ " + name)
		api.waitAsked(t, "watch "+pathOf(o), 1)
		api.del(o)
		r.waitFor("- " + name)
		api.set(o)
		r.waitFor("+ " + name)
	}
	if n := api.count("list"); n != len(objects) {
		t.Errorf("%d lists:\n%s", n, strings.Join(api.asked(), "\n"))
	}
}

// Each kind asks for what is needed of it and for no more.
func TestRequests(t *testing.T) {
	api := newFakeAPI(t)
	r, _ := watching(t, api, func(o *Options) {
		o.Needs = everything
		o.Needs.Labels, o.Needs.NamespaceLabels, o.Needs.NodeName = "app in (a,b)", "!hidden", "node-1"
	})
	r.waitSynced(len(everything.Kinds()))
	api.waitAsked(t, "watch", len(everything.Kinds()))
	got := api.asked()
	for i := range got {
		got[i] = regexp.MustCompile(`timeoutSeconds=([345]\d\d|600)\b`).ReplaceAllString(got[i], "timeoutSeconds=N")
	}
	slices.Sort(got)
	want := []string{
		"list /api/v1/namespaces?labelSelector=%21hidden&limit=500&resourceVersion=0",
		"list /api/v1/nodes?fieldSelector=metadata.name%3Dnode-1&limit=500&resourceVersion=0",
		"list /api/v1/pods?fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed%2Cstatus.phase%21%3DUnknown&labelSelector=app+in+%28a%2Cb%29&limit=500&resourceVersion=0",
		"list /api/v1/services?labelSelector=app+in+%28a%2Cb%29&limit=500&resourceVersion=0",
		"list /apis/discovery.k8s.io/v1/endpointslices?labelSelector=app+in+%28a%2Cb%29&limit=500&resourceVersion=0",
		"list /apis/multicluster.x-k8s.io/v1alpha1/serviceimports?labelSelector=%21hidden&limit=500&resourceVersion=0",
		"list /apis/networking.k8s.io/v1/servicecidrs?limit=500&resourceVersion=0",
		"watch /api/v1/namespaces?allowWatchBookmarks=true&labelSelector=%21hidden&resourceVersion=1&timeoutSeconds=N&watch=true",
		"watch /api/v1/nodes?allowWatchBookmarks=true&fieldSelector=metadata.name%3Dnode-1&resourceVersion=1&timeoutSeconds=N&watch=true",
		"watch /api/v1/pods?allowWatchBookmarks=true&fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed%2Cstatus.phase%21%3DUnknown&labelSelector=app+in+%28a%2Cb%29&resourceVersion=1&timeoutSeconds=N&watch=true",
		"watch /api/v1/services?allowWatchBookmarks=true&labelSelector=app+in+%28a%2Cb%29&resourceVersion=1&timeoutSeconds=N&watch=true",
		"watch /apis/discovery.k8s.io/v1/endpointslices?allowWatchBookmarks=true&labelSelector=app+in+%28a%2Cb%29&resourceVersion=1&timeoutSeconds=N&watch=true",
		"watch /apis/multicluster.x-k8s.io/v1alpha1/serviceimports?allowWatchBookmarks=true&labelSelector=%21hidden&resourceVersion=1&timeoutSeconds=N&watch=true",
		"watch /apis/networking.k8s.io/v1/servicecidrs?allowWatchBookmarks=true&resourceVersion=1&timeoutSeconds=N&watch=true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A watch that breaks is continued where it was, without a list.
func TestWatchBreaks(t *testing.T) {
	api := newFakeAPI(t)
	api.set(service("a", "10.96.0.1"))
	r, _ := watching(t, api, nil)
	r.waitSynced(3)
	for i := range 5 {
		api.cut()
		if i%2 == 0 {
			api.CloseClientConnections()
		}
		api.set(service("a", fmt.Sprint("10.96.0.", i+10)))
		api.set(service("b", fmt.Sprint("10.96.0.", i+20)))
		r.waitFor("+ services prod/b")
		api.del(service("b", ""))
		r.waitFor("- services prod/b")
	}
	if n := api.count("list"); n != 3 {
		t.Errorf("%d lists:\n%s", n, strings.Join(api.asked(), "\n"))
	}
}

// After 410 Gone the sink keeps what it has and hears the difference alone.
func TestTooOld(t *testing.T) {
	for _, as := range []string{"event", "status"} {
		t.Run(as, func(t *testing.T) {
			api := newFakeAPI(t)
			api.before = func(w http.ResponseWriter, r *http.Request) bool {
				since := 0
				fmt.Sscan(r.URL.Query().Get("resourceVersion"), &since)
				api.mu.Lock()
				gone := as == "status" && r.URL.Query().Has("watch") && since < api.forgotten
				api.mu.Unlock()
				if gone {
					refuse(w, r, http.StatusGone, metav1.StatusReasonExpired, "too old resource version")
				}
				return gone
			}
			for i := range 10 {
				api.set(service(fmt.Sprint("s", i), fmt.Sprint("10.96.0.", i)))
			}
			logged := &lines{}
			r, _ := watching(t, api, func(o *Options) { o.Log = logged.add })
			r.waitSynced(3)
			r.wait("all", func() bool { return len(r.state) == 10 })
			api.waitAsked(t, "watch", 3)
			r.taken()
			api.forget(func(set, del func(object)) {
				set(service("s1", "10.96.9.9"))
				del(service("s2", ""))
				set(service("s99", "10.96.0.99"))
			})
			api.set(service("last", "10.96.8.8"))
			r.waitFor("+ services prod/last")
			got := r.taken()
			slices.Sort(got)
			if want := []string{"+ services prod/last", "+ services prod/s99", "- services prod/s2", "~ services prod/s1"}; !slices.Equal(got, want) {
				t.Errorf("told %q", got)
			}
			if n := api.count("list /api/v1/services"); n != 2 {
				t.Errorf("%d lists of Services", n)
			}
			if got := logged.all(); len(got) > 0 && !strings.Contains(strings.Join(got, ""), "within a second") {
				t.Errorf("logged %q", got)
			}
		})
	}
}

// lines collects what is logged.
type lines struct {
	mu   sync.Mutex
	text []string
}

func (l *lines) add(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, err.Error())
}

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.text)
}

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

// A server that was set back does not know the version we have seen. It is asked for whatever there is.
func TestServerSetBack(t *testing.T) {
	api := newFakeAPI(t)
	api.version = 1000
	api.before = func(w http.ResponseWriter, r *http.Request) bool {
		since := 0
		fmt.Sscan(r.URL.Query().Get("resourceVersion"), &since)
		api.mu.Lock()
		now := api.version
		api.mu.Unlock()
		if since <= now {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusGatewayTimeout)
		fmt.Fprintf(w, `{"kind":"Status","status":"Failure","reason":"Timeout","code":504,"message":"Timeout: Too large resource version: %d, current: %d",`+
			`"details":{"causes":[{"reason":"ResourceVersionTooLarge"}],"retryAfterSeconds":0}}`, since, now)
		return true
	}
	api.set(service("a", "10.96.0.1"))
	r, _ := watching(t, api, nil)
	r.waitSynced(3)
	api.mu.Lock()
	api.version, api.history = 5, nil
	api.mu.Unlock()
	api.cut()
	api.set(service("b", "10.96.0.2"))
	r.waitFor("+ services prod/b")
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

func TestPods(t *testing.T) {
	api := newFakeAPI(t)
	leaving := func(name, ip string) *corev1.Pod {
		p := pod(name, ip)
		p.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
		return p
	}
	api.set(leaving("unknown", "10.0.0.9"))
	api.set(pod("known", "10.0.0.1"))
	r, _ := watching(t, api, func(o *Options) { o.Needs = cluster.Needs{Pods: true} })
	r.waitSynced(4)
	r.waitFor("+ pods prod/known")
	// Its last update loses the address, as when its sandbox is gone. It keeps what it had, over a list too.
	api.set(leaving("known", ""))
	api.set(pod("next", "10.0.0.2"))
	r.waitFor("+ pods prod/next")
	api.forget(nil)
	api.set(pod("last", "10.0.0.3"))
	r.waitFor("+ pods prod/last")
	known := r.state["pods prod/known"].(*cluster.Pod)
	if len(known.IPs) != 1 || known.IPs[0].String() != "10.0.0.1" {
		t.Errorf("known has %v", known.IPs)
	}
	if len(r.state) != 3 {
		t.Errorf("there are %v", r.state)
	}
	api.del(leaving("known", ""))
	r.waitFor("- pods prod/known")
}

// A token that the server does not take any more is read again from its file.
func TestTokenIsRenewed(t *testing.T) {
	api, ca := newSecureAPI(t)
	var mu sync.Mutex
	valid, refusals := "first", 0
	api.before = func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if r.Header.Get("Authorization") == "Bearer "+valid {
			return false
		}
		refusals++
		if r.ProtoMajor != 2 {
			t.Errorf("the request came by %s", r.Proto)
		}
		refuse(w, r, http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "Unauthorized")
		return true
	}
	dir := t.TempDir()
	token, config := filepath.Join(dir, "token"), filepath.Join(dir, "config")
	write(t, token, "first")
	write(t, config, fmt.Sprintf(`
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: k, user: u}}]
clusters: [{name: k, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: u, user: {tokenFile: %q}}]`, api.URL, ca, token))
	r, _ := watching(t, api, func(o *Options) { o.Access = Access{Kubeconfig: config} })
	r.waitSynced(3)
	write(t, token, "second")
	mu.Lock()
	valid = "second"
	mu.Unlock()
	api.cut()
	api.set(service("a", "10.96.0.1"))
	r.waitFor("+ services prod/a")
	if refusals == 0 {
		t.Error("the first token was never refused")
	}
	if n := api.count("list"); n != 3 {
		t.Errorf("%d lists", n)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
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
		"failed to list *v1.EndpointSlice: the server is currently unable to handle the request (get endpointslices.discovery.k8s.io)",
		"failed to list *v1.Namespace: the server is currently unable to handle the request (get namespaces)",
		"failed to list *v1.Service: the server is currently unable to handle the request (get services)",
	}
	if !slices.Equal(got, want) {
		t.Errorf("logged\n%s", strings.Join(got, "\n"))
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
	want := `failed to list *v1.EndpointSlice: endpointslices.discovery.k8s.io is forbidden: User "dns" cannot list`
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
	want := "failed to list *v1alpha1.ServiceImport: the server could not find the requested resource (get serviceimports.multicluster.x-k8s.io)"
	if got := logged.all(); len(got) != 1 || got[0] != want {
		t.Errorf("logged %q", got)
	}
}

// Whatever happens, nothing runs on after Run has returned.
func TestNothingIsLeftRunning(t *testing.T) {
	api := newFakeAPI(t)
	before := runtime.NumGoroutine()
	for range 3 {
		r, stop := watching(t, api, func(o *Options) { o.Needs = everything; o.QPS = 1000; o.MaxInflight = 2 })
		r.waitSynced(len(everything.Kinds()))
		stop()
	}
	api.CloseClientConnections() // the server's own
	eventually(t, fmt.Sprintf("%d goroutines to be left", before), func() bool { return runtime.NumGoroutine() <= before })
}
