package nodes

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// barAfterDeath is how long questions may fail after a DNS server has died without a word.
const barAfterDeath = 3 * time.Second

// killContainerd takes the container runtime of a node away for a while: Pods do not need it to go on.
func (c *town) killContainerd(t *testing.T) {
	traffic := c.startTraffic(t, c.Nodes, gentleRate)
	c.Nodes[0].Containerd.Kill()
	traffic.goOn(t, 5*time.Second)
	if err := c.Nodes[0].StartContainerd(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a Pod to run programs in again", func() error {
		if out := c.kubectlEnd("exec", "client", "--", "cat", "/etc/hostname"); out != "client\n" {
			return fmt.Errorf("kubectl exec: %s", out)
		}
		return nil
	})
	traffic.lostNothing(t, "containerd was killed")
}

// killAPIServer does without the API server for a while: what is known goes on being answered. What was written afterwards is
// known soon.
func (c *town) killAPIServer(t *testing.T) {
	away := 15 * time.Second
	if *long {
		away = 5 * time.Minute
	}
	traffic := c.startTraffic(t, c.Nodes, gentleRate)
	c.APIServer.Kill()
	traffic.goOn(t, away)
	if err := c.APIServer.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.apply(t, `
apiVersion: v1
kind: Service
metadata: {name: afterwards}
spec: {clusterIP: 10.96.7.7, selector: {app: web}, ports: [{port: 80}]}
`)
	begun := time.Now()
	eventually(t, "what was written after the outage", func() error {
		return equal(c.dig(t, "afterwards.default.svc.cluster.local"), []string{"10.96.7.7"})
	})
	t.Logf("the API server was away for %v; a new Service is known %v after it came back", away, time.Since(begun).Round(100*time.Millisecond))
	traffic.lostNothing(t, fmt.Sprintf("the API server was away for %v", away))
}

// killServer kills one of the DNS servers.
func (c *town) killServer(t *testing.T) {
	traffic := c.startTraffic(t, c.Nodes, gentleRate)
	pid := servers(t)[0]
	begun := time.Now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	traffic.outage(t, "a DNS server was killed", begun)
	c.awaitDNS(t)
}

// killNode powers one of the nodes off that a DNS server runs on, and looks from the other one.
func (c *town) killNode(t *testing.T) {
	c.spreadDNS(t)
	traffic := c.startTraffic(t, c.Nodes[:1], gentleRate)
	begun := time.Now()
	c.Nodes[1].PowerOff()
	traffic.outage(t, "a node died", begun)
}

// spreadDNS returns once there is a DNS Pod on each node: where they are together one is deleted, as they are to be apart
// where that can be.
func (c *town) spreadDNS(t *testing.T) {
	t.Helper()
	for {
		list, err := c.Client.CoreV1().Pods("kube-system").List(t.Context(), metav1.ListOptions{LabelSelector: "k8s-app=kube-dns"})
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Items) == 2 && list.Items[0].Spec.NodeName != list.Items[1].Spec.NodeName {
			return
		}
		c.kubectl(t, "-n", "kube-system", "delete", "pod", list.Items[0].Name)
		c.awaitDNS(t)
	}
}

// goOn returns after a while, in which each visitor has been answered.
func (f *traffic) goOn(t *testing.T, while time.Duration) {
	t.Helper()
	before := map[string]int{}
	for _, pod := range f.visitors {
		before[pod.Name] = f.settled(t, pod).Done
	}
	end := time.Now().Add(while)
	eventuallyWithin(t, while+patience, "answers meanwhile", func() error {
		for _, pod := range f.visitors {
			if s, err := tallyOf(pod); err != nil || s.Done == before[pod.Name] {
				return fmt.Errorf("%s has seen %+v: %v", pod.Name, s, err)
			}
		}
		if left := time.Until(end); left > 0 {
			return fmt.Errorf("%v are left", left)
		}
		return nil
	})
}

// lostNothing ends the traffic, of which nothing must be lost.
func (f *traffic) lostNothing(t *testing.T, what string) {
	t.Helper()
	l := f.stop(t)
	t.Logf("%s: %d of %d queries and %d of %d HTTP requests lost", what, l.queriesLost, l.queries, l.requestsLost, l.requests)
	if l.queries == 0 || l.requests == 0 || l.queriesLost > 0 || l.requestsLost > 0 {
		t.Errorf("lost were:\n%s", strings.Join(l.what, "\n"))
	}
}

// outage waits until all answers have come again for some time, ends the traffic, and says for how long some did not.
func (f *traffic) outage(t *testing.T, what string, begun time.Time) {
	t.Helper()
	f.goOn(t, 2*barAfterDeath)
	var last time.Time
	failed, done := 0, 0
	for _, pod := range f.visitors {
		if strings.Contains(pod.Name, "-http-") {
			continue // its servers may have died too
		}
		s := f.settled(t, pod)
		failed, done = failed+s.Failed, done+s.Done
		if s.LastFailed.After(last) {
			last = s.LastFailed
		}
	}
	var took time.Duration
	if failed > 0 {
		took = last.Sub(begun)
	}
	l := f.stop(t)
	t.Logf("%s: %d of %d queries failed; all answers come again after %v", what, failed, done, took.Round(10*time.Millisecond))
	if took > barAfterDeath {
		t.Errorf("that is more than %v; lost were:\n%s", barAfterDeath, strings.Join(l.what, "\n"))
	}
}

// servers are the processes of all Waypost servers in the cluster.
func servers(t *testing.T) (pids []int) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if text, err := os.ReadFile(name); err == nil && string(text) == "waypost\n" {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	if len(pids) == 0 {
		t.Fatal("no Waypost runs")
	}
	return pids
}
