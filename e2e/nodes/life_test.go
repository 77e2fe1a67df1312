package nodes

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// life changes what Services lead to, and looks at the names from a Pod, under traffic that must not lose anything: the web
// server's Pods go on for some seconds when they are told to end, in which the companions learn of it.
func (c *town) life(t *testing.T) {
	traffic := c.startTraffic(t, c.Nodes, gentleRate)
	for _, replicas := range []int{1, 5, 2} {
		c.kubectl(t, "scale", "deployment/web", fmt.Sprintf("--replicas=%d", replicas))
		c.rolledOut(t, "default", "web")
		c.agree(t, "web-pods", "app=web", replicas)
	}
	c.kubectl(t, "rollout", "restart", "deployment/web")
	c.rolledOut(t, "default", "web")
	c.agree(t, "web-pods", "app=web", 2)

	before := c.dig(t, "db-0.db.default.svc.cluster.local")
	c.kubectl(t, "rollout", "restart", "statefulset/db")
	c.kubectl(t, "rollout", "status", "statefulset/db", "--timeout", patience.String())
	for _, name := range []string{"db-0", "db-1"} {
		eventually(t, "the name of "+name, func() error {
			pod, err := c.Client.CoreV1().Pods("default").Get(t.Context(), name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			return equal(c.dig(t, name+".db.default.svc.cluster.local"), []string{pod.Status.PodIP})
		})
	}
	if after := c.dig(t, "db-0.db.default.svc.cluster.local"); slices.Equal(after, before) {
		t.Errorf("db-0 has been restarted and still has the address %v", after)
	}
	c.readiness(t)
	traffic.lostNothing(t, "Services led elsewhere")
}

// readiness has a Pod fail its readiness probe: its address leaves its Service, but not the one that publishes all.
func (c *town) readiness(t *testing.T) {
	pods := c.readyPods(t, "app=web")
	turn := func() {
		t.Helper()
		response, err := http.Post("http://"+pods[0].Status.PodIP+":8080/ready", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
	turn()
	c.agree(t, "web-pods", "app=web", len(pods)-1)
	if got := c.dig(t, "web-any.default.svc.cluster.local"); !slices.Contains(got, pods[0].Status.PodIP) {
		t.Errorf("a Service that publishes what is not ready leads to %v, without %s", got, pods[0].Status.PodIP)
	}
	turn()
	c.agree(t, "web-pods", "app=web", len(pods))
}

// agree returns once a headless Service of n Pods has the addresses of those that are ready, and no others.
func (c *town) agree(t *testing.T, service, selector string, n int) {
	t.Helper()
	eventually(t, service+" to lead to its Pods", func() error {
		var want []string
		for _, pod := range c.readyPods(t, selector) {
			want = append(want, pod.Status.PodIP)
		}
		if len(want) != n {
			return fmt.Errorf("%d Pods are ready", len(want))
		}
		return equal(c.dig(t, service+".default.svc.cluster.local"), want)
	})
}

func (c *town) readyPods(t *testing.T, selector string) (pods []*core.Pod) {
	t.Helper()
	list, err := c.Client.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		if ready(&list.Items[i]) {
			pods = append(pods, &list.Items[i])
		}
	}
	return pods
}

// dig asks from a Pod and returns what dig prints, sorted.
func (c *town) dig(t *testing.T, args ...string) []string {
	t.Helper()
	return sortedLines(c.exec(t, "client", append([]string{"dig", "+short"}, args...)...))
}

func sortedLines(text string) []string {
	lines := slices.Collect(strings.Lines(text))
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], "\n")
	}
	slices.Sort(lines)
	return lines
}

func equal(got, want []string) error {
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("got %v, want %v", got, want)
	}
	return nil
}
