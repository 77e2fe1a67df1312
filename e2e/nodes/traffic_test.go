package nodes

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waypost/waypost/e2e/lab"
	"github.com/waypost/waypost/e2e/nodes/seen"
)

// traffic is a constant load from Pods on nodes: dnsperf, whose source ports stay, clients that keep their ports and that take
// a new one for each question, one that asks over TCP, and one that gets pages from a Service by its name.
type traffic struct {
	c        *town
	label    string
	visitors []*core.Pod
	dnsperfs []*core.Pod
}

// clients are the visitors that each node has, by their names.
func clients() map[string][]string {
	dns := []string{"dns", "-server", lab.DNSAddress + ":53"}
	names := []string{"kubernetes.default.svc.cluster.local", "web.default.svc.cluster.local", "www.example.org"}
	return map[string][]string{
		"fresh": slices.Concat(dns, []string{"-rate", "40"}, names),
		"fixed": slices.Concat(dns, []string{"-rate", "40", "-sockets", "10"}, names),
		"tcp":   slices.Concat(dns, []string{"-rate", "10", "-network", "tcp"}, names),
		"http":  {"http", "-rate", "10", "http://web.default.svc.cluster.local/"},
	}
}

// dnsperf asks for a name of the cluster, one that is not, and one of the world, from 20 ports. It does so in rounds, as only
// a dnsperf that ends by itself waits for its last answers. %d is the rate.
const dnsperf = `printf 'kubernetes.default.svc.cluster.local A\nweb.default.svc.cluster.local.default.svc.cluster.local A\nwww.example.org A\n' >/tmp/q
while ! test -e /tmp/stop; do dnsperf -s ` + lab.DNSAddress + ` -d /tmp/q -c 20 -T 1 -q 10000 -t 5 -Q %d -l 10 | grep -v 'msg id'; done`

// startTraffic starts clients of all kinds, and returns once each has been answered.
func (c *town) startTraffic(t *testing.T, nodes []*lab.Node, dnsperfRate int) *traffic {
	t.Helper()
	f := c.newTraffic(t, "load", nodes, clients(), dnsperfRate)
	for _, pod := range f.visitors {
		eventually(t, "answers for "+pod.Name, func() error {
			if s, err := tallyOf(pod); err != nil || s.Done == 0 {
				return fmt.Errorf("it has seen %+v: %v", s, err)
			}
			return nil
		})
	}
	return f
}

// flood has dnsperf ask at a rate, on each node.
func (c *town) flood(t *testing.T, dnsperfRate int) *traffic {
	t.Helper()
	return c.newTraffic(t, "flood", c.Nodes, nil, dnsperfRate)
}

func (c *town) newTraffic(t *testing.T, label string, nodes []*lab.Node, visitors map[string][]string, dnsperfRate int) *traffic {
	t.Helper()
	f := &traffic{c: c, label: label}
	var manifests []string
	for _, n := range nodes {
		for name, args := range visitors {
			manifests = append(manifests, loadPod(label, name, n, append([]string{"/bin/visitor"}, args...)))
		}
		manifests = append(manifests, loadPod(label, "dnsperf", n, []string{"/bin/sh", "-c", fmt.Sprintf(dnsperf, dnsperfRate)}))
	}
	c.apply(t, strings.Join(manifests, "\n---\n"))
	for _, n := range nodes {
		for name := range visitors {
			f.visitors = append(f.visitors, c.awaitPod(t, "default", label+"-"+name+"-"+n.Name))
		}
		f.dnsperfs = append(f.dnsperfs, c.awaitPod(t, "default", label+"-dnsperf-"+n.Name))
	}
	return f
}

func loadPod(label, name string, n *lab.Node, command []string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: "%[1]s-%[2]s-%[3]s", labels: {load: "%[1]s"}}
spec:
  nodeName: %[3]s
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers: [{name: tools, image: "%[4]s", imagePullPolicy: Never, command: %[5]s}]
`, label, name, n.Name, toolsImage, quoted(command))
}

func quoted(words []string) string {
	text, _ := json.Marshal(words) // strings can be written
	return string(text)
}

func tallyOf(pod *core.Pod) (seen.Tally, error) {
	var s seen.Tally
	response, err := http.Get("http://" + pod.Status.PodIP + ":9000/")
	if err != nil {
		return s, err
	}
	defer response.Body.Close()
	return s, json.NewDecoder(response.Body).Decode(&s)
}

// loss is what traffic did not get.
type loss struct {
	queries, queriesLost   int
	requests, requestsLost int
	what                   []string
}

// plus is both.
func (l loss) plus(m loss) loss {
	return loss{l.queries + m.queries, l.queriesLost + m.queriesLost, l.requests + m.requests, l.requestsLost + m.requestsLost, append(l.what, m.what...)}
}

// stop ends the traffic and says what it did not get.
func (f *traffic) stop(t *testing.T) loss {
	t.Helper()
	var l loss
	for _, pod := range f.dnsperfs {
		f.c.kubectl(t, "exec", pod.Name, "--", "touch", "/tmp/stop")
	}
	for _, pod := range f.visitors {
		s := f.settled(t, pod)
		if strings.Contains(pod.Name, "-http-") {
			l.requests, l.requestsLost = l.requests+s.Done, l.requestsLost+s.Failed
		} else {
			l.queries, l.queriesLost = l.queries+s.Done, l.queriesLost+s.Failed
		}
		for _, failure := range s.Failures {
			l.what = append(l.what, fmt.Sprintf("%s at %s, after %v: %s", pod.Name, failure.Begun.Format("15:04:05.000"), failure.Took.Round(time.Millisecond), failure.What))
		}
	}
	for _, pod := range f.dnsperfs {
		sent, lost, report := f.dnsperf(t, pod)
		l.queries, l.queriesLost = l.queries+sent, l.queriesLost+lost
		if lost > 0 {
			l.what = append(l.what, pod.Name+": "+report)
		}
	}
	f.c.kubectl(t, "delete", "pods", "-l", "load="+f.label, "--wait=true")
	return l
}

// settled returns what a visitor has seen once everything it had begun by now is over.
func (f *traffic) settled(t *testing.T, pod *core.Pod) (s seen.Tally) {
	t.Helper()
	begun := -1
	eventually(t, pod.Name+" to have its answers", func() (err error) {
		if s, err = tallyOf(pod); err != nil {
			return err
		}
		if begun < 0 {
			begun = s.Begun
		}
		if s.Done < begun {
			return fmt.Errorf("%d of %d are over", s.Done, begun)
		}
		return nil
	})
	return s
}

var dnsperfCounts = regexp.MustCompile(`Queries (sent|lost): +(\d+)`)

// dnsperf returns what the rounds of a dnsperf have counted.
func (f *traffic) dnsperf(t *testing.T, pod *core.Pod) (sent, lost int, report string) {
	t.Helper()
	eventually(t, "the end of "+pod.Name, func() error {
		now, err := f.c.Client.CoreV1().Pods(pod.Namespace).Get(t.Context(), pod.Name, metav1.GetOptions{})
		if err == nil && now.Status.Phase != core.PodSucceeded {
			err = fmt.Errorf("it is %s", now.Status.Phase)
		}
		return err
	})
	report = f.c.kubectl(t, "logs", pod.Name)
	counts := map[string]int{}
	for _, m := range dnsperfCounts.FindAllStringSubmatch(report, -1) {
		n, _ := strconv.Atoi(m[2])
		counts[m[1]] += n
	}
	if counts["sent"] == 0 {
		t.Fatalf("%s says:\n%s", pod.Name, report)
	}
	return counts["sent"], counts["lost"], report
}
