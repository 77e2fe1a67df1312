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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waypost/waypost/cluster"
)

// watching starts a source over api with quick retries. The options may be changed first.
func watching(t *testing.T, api *fakeAPI, change func(*Options)) (*recorder, func()) {
	t.Helper()
	return watchingWith(t, api, change, func(*APIServer) {})
}

// watchingWith has the source itself adapted, too.
func watchingWith(t *testing.T, api *fakeAPI, change func(*Options), adapt func(*APIServer)) (*recorder, func()) {
	t.Helper()
	o := Options{Access: Access{Endpoint: api.URL}, Log: func(err error) { t.Log(err) }}
	if change != nil {
		change(&o)
	}
	source, err := NewAPIServer(o)
	if err != nil {
		t.Fatal(err)
	}
	source.retry = backoff{min: time.Microsecond}
	adapt(source)
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

// Nodes are written anew again and again by their kubelets. Of others than the one that is asked for, only addresses count.
func TestNodesSayWhatHasChanged(t *testing.T) {
	api := newFakeAPI(t)
	n := func(name, address string) *corev1.Node {
		n := node(name)
		n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}}
		return n
	}
	api.set(n("node-1", "192.0.2.1"))
	api.set(n("node-2", "192.0.2.2"))
	r, _ := watching(t, api, func(o *Options) {
		o.Needs = cluster.Needs{NoNamespaces: true, NoSlices: true, Routes: true, NodeName: "node-1", NodeAddresses: true}
	})
	r.waitSynced(3)
	r.taken()
	for i := range 3 {
		beat := n("node-2", "192.0.2.2")
		beat.Labels = map[string]string{"beat": fmt.Sprint(i), corev1.LabelTopologyZone: fmt.Sprint("zone-", i)}
		beat.Spec.Taints = []corev1.Taint{{Key: "ToBeDeletedByClusterAutoscaler"}}
		beat.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Reason: fmt.Sprint(i)}}
		api.set(beat)
	}
	api.set(n("node-2", "192.0.2.3"))
	r.waitFor("~ nodes node-2")
	if told := r.taken(); len(told) != 1 {
		t.Errorf("told of more than the new address:\n%s", strings.Join(told, "\n"))
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

// A proxy asks for no headless Services, nor for their slices.
func TestRequestsOfAProxy(t *testing.T) {
	needs := cluster.Needs{Routed: true}
	for _, tt := range []struct {
		kind   cluster.Kind
		labels string
		want   string
	}{
		{cluster.KindService, "", "fieldSelector=spec.clusterIP%21%3DNone"},
		{cluster.KindService, "a", "fieldSelector=spec.clusterIP%21%3DNone&labelSelector=a"},
		{cluster.KindSlice, "", "labelSelector=%21service.kubernetes.io%2Fheadless"},
		{cluster.KindSlice, "a", "labelSelector=a%2C%21service.kubernetes.io%2Fheadless"},
	} {
		needs.Labels = tt.labels
		if got := resourceOf(tt.kind, needs).query().Encode(); got != tt.want {
			t.Errorf("%v, %q: %s, want %s", tt.kind, tt.labels, got, tt.want)
		}
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
