package e2e

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/e2e/fixture"
	"github.com/waypost/waypost/e2e/lab"
	"github.com/waypost/waypost/watch"
)

// everything that a source can be asked for.
var everything = cluster.Needs{Pods: true, PodNames: true, Zones: true, Imports: true, Routes: true}

// TestWatchSurvives follows one API server while objects change through another, and the first is restarted, frozen and made
// to forget. Afterwards the source must know exactly what one that begins then is told.
func TestWatchSurvives(t *testing.T) {
	control, _ := startControlPlane(t)
	if err := fixture.Load(t.Context(), control.APIServer); err != nil {
		t.Fatal(err)
	}
	server, err := control.AddAPIServer(t.Context(), 7443)
	if err != nil {
		t.Fatal(err)
	}
	o := watch.Options{Access: watch.Access{Kubeconfig: server.Kubeconfig}, Needs: everything}
	m := follow(t, o)
	m.waitSynced(t, everything.Kinds())
	check := func(what string) {
		t.Helper()
		m.waitEqual(t, what, freshly(t, watch.Options{Access: watch.Access{Kubeconfig: control.Kubeconfig}, Needs: everything}))
	}
	check("the beginning")
	random := rand.New(rand.NewPCG(1, 2))

	churn(t, control, random, 300)
	check("changes")

	server.Stop()
	churn(t, control, random, 300)
	lists := m.lists()
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("a restart that changes were missed in")
	if m.lists() == lists {
		t.Error("the restarted server knew the past: nothing was too old, and no list needed")
	}

	syscall.Kill(server.PID(), syscall.SIGSTOP)
	churn(t, control, random, 100)
	syscall.Kill(server.PID(), syscall.SIGCONT)
	check("a pause")

	server.Kill()
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	churn(t, control, random, 100)
	check("a crash")

	// Nothing tells that the server is not there any more but its silence.
	errors := m.answered("<error>")
	syscall.Kill(server.PID(), syscall.SIGSTOP)
	begun := time.Now()
	m.wait(t, "the silence to be noticed", func() bool { return m.answers["<error>"] > errors })
	t.Logf("the silence was noticed after %v", time.Since(begun).Round(time.Second))
	server.Kill()
	churn(t, control, random, 100)
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("a silence")
	if n := m.mistakes(); len(n) > 0 {
		t.Errorf("the sink was told:\n%s", strings.Join(n, "\n"))
	}
}

// TestWatchToken changes the token under a running source, as the kubelet does, and makes the server refuse the old one.
func TestWatchToken(t *testing.T) {
	control, _ := startControlPlane(t)
	server, err := control.AddAPIServer(t.Context(), 7443)
	if err != nil {
		t.Fatal(err)
	}
	server.Stop()
	server.SetToken("first", "dns")
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	token, config := filepath.Join(lab.Folder(), "token"), filepath.Join(lab.Folder(), "token.kubeconfig")
	writeFile(t, token, "first")
	if err := server.WriteKubeconfig(config, "tokenFile: "+token); err != nil {
		t.Fatal(err)
	}
	m := follow(t, watch.Options{Access: watch.Access{Kubeconfig: config}})
	m.waitSynced(t, cluster.Needs{}.Kinds())

	server.Stop()
	server.SetToken("first", "")
	server.SetToken("second", "dns")
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.wait(t, "a refusal", func() bool { return m.answers["401"] > 0 })
	writeFile(t, token, "second")
	churn(t, control, rand.New(rand.NewPCG(1, 2)), 50)
	m.waitEqual(t, "a new token", freshly(t, watch.Options{Access: watch.Access{Kubeconfig: control.Kubeconfig}}))
}

// TestWatchQPS asks a real server no more often than is allowed.
func TestWatchQPS(t *testing.T) {
	control, _ := startControlPlane(t)
	begun := time.Now()
	m := follow(t, watch.Options{Access: watch.Access{Kubeconfig: control.Kubeconfig}, QPS: 2, Burst: 1, MaxInflight: 1})
	m.waitSynced(t, cluster.Needs{}.Kinds())
	// Three lists are two requests after the first, at least.
	if took := time.Since(begun); took < time.Second {
		t.Errorf("synced after %v with 2 requests a second", took)
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// churn makes n random changes to Services, slices, namespaces and Pods of a namespace of its own.
func churn(t *testing.T, control *lab.ControlPlane, random *rand.Rand, n int) {
	t.Helper()
	writer, err := control.Objects()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := control.Client.CoreV1().Namespaces().Get(t.Context(), "churn", metav1.GetOptions{}); err != nil {
		if err := writer.Create(t.Context(), manifests(t, "{apiVersion: v1, kind: Namespace, metadata: {name: churn}}")...); err != nil {
			t.Fatal(err)
		}
	}
	for range n {
		i, ip := random.IntN(20), fmt.Sprintf("10.9.0.%d", 1+random.IntN(200))
		object := manifests(t, fmt.Sprintf(shapes[random.IntN(len(shapes))], i, ip))[0]
		err := writer.Delete(t.Context(), object)
		if random.IntN(3) > 0 && err == nil {
			err = writer.Create(t.Context(), object)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// shapes are objects to churn; the first verb is a number for the name, the second an address.
var shapes = []string{`
apiVersion: v1
kind: Service
metadata: {namespace: churn, name: s%d, annotations: {ip: %s}}
spec: {ports: [{port: 80}]}`, `
apiVersion: v1
kind: Service
metadata: {namespace: churn, name: x%d}
spec: {type: ExternalName, externalName: "host-%s"}`, `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: churn, name: e%d, labels: {kubernetes.io/service-name: s1}}
addressType: IPv4
endpoints: [{addresses: [%s], nodeName: node-1, zone: a}]
ports: [{name: "", port: 80}]`, `
apiVersion: v1
kind: Pod
metadata: {namespace: churn, name: p%d}
spec: {containers: [{name: c, image: none}], nodeName: none}
status: {phase: Running, podIPs: [{ip: %[2]s}], podIP: %[2]s}`,
}

func manifests(t *testing.T, text string) []*lab.Object {
	t.Helper()
	objects, err := lab.ParseManifests([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// mirror is a sink that keeps what it is told, and the metrics of its source.
type mirror struct {
	mu      sync.Mutex
	objects map[string]cluster.Object // by kind and key
	synced  []cluster.Kind
	wrong   []string
	listed  int
	answers map[string]int // by code
	log     bytes.Buffer
}

// follow runs a source into a mirror until the test ends.
func follow(t *testing.T, o watch.Options) *mirror {
	t.Helper()
	m := &mirror{objects: map[string]cluster.Object{}, answers: map[string]int{}}
	o.Metrics, o.Log = m, func(err error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		fmt.Fprintln(&m.log, err)
	}
	source, err := watch.NewAPIServer(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		source.Run(ctx, m)
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return m
}

// freshly returns what a source tells that begins now.
func freshly(t *testing.T, o watch.Options) map[string]cluster.Object {
	t.Helper()
	m := follow(t, o)
	m.waitSynced(t, o.Needs.Kinds())
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.objects)
}

func (m *mirror) Apply(changes []cluster.Change) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range changes {
		name := c.Object().Kind().String() + " " + c.Object().Key().String()
		if m.objects[name] != c.Old {
			m.wrong = append(m.wrong, "a change of "+name+" from what it was not")
		}
		if c.New == nil {
			delete(m.objects, name)
		} else {
			m.objects[name] = c.New
		}
	}
}

func (m *mirror) Synced(kind cluster.Kind) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.synced = append(m.synced, kind)
}

func (m *mirror) RateLimited(_, _ string, _ time.Duration) {}
func (m *mirror) Skipped(kind cluster.Kind)                {}

func (m *mirror) Requested(_, _ string, _ time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listed++
}

func (m *mirror) Answered(code, _, _ string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answers[code]++
}

func (m *mirror) answered(code string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.answers[code]
}

func (m *mirror) lists() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.listed
}

func (m *mirror) mistakes() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wrong
}

// watchPatience is how long anything may take: a server that only falls silent is noticed within a minute.
const watchPatience = 2 * time.Minute

// wait returns when is holds.
func (m *mirror) wait(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline, tick := time.After(watchPatience), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for {
		m.mu.Lock()
		done := is()
		m.mu.Unlock()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			m.mu.Lock()
			defer m.mu.Unlock()
			t.Fatalf("waited in vain for %s; synced are %v; logged was:\n%s", what, m.synced, &m.log)
		}
	}
}

func (m *mirror) waitSynced(t *testing.T, kinds []cluster.Kind) {
	t.Helper()
	m.wait(t, "all kinds to be synced", func() bool { return len(m.synced) == len(kinds) })
	slices.Sort(m.synced)
	if !slices.Equal(m.synced, kinds) {
		t.Errorf("synced are %v", m.synced)
	}
}

// waitEqual returns when the mirror shows what want says.
func (m *mirror) waitEqual(t *testing.T, after string, want map[string]cluster.Object) {
	t.Helper()
	begun := time.Now()
	same := func(a, b cluster.Object) bool { return a.Equal(b) }
	m.wait(t, "the present after "+after, func() bool { return maps.EqualFunc(m.objects, want, same) })
	t.Logf("after %s: %d objects, the same %v later", after, len(want), time.Since(begun).Round(time.Millisecond))
}
