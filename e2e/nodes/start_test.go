package nodes

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// barColdStart is how long a server may take from its process's start to being ready.
const barColdStart = 2 * time.Second

// coldStart deletes a DNS Pod, and looks how long the server in the one that comes in its place takes until it is ready.
func (c *town) coldStart(t *testing.T) {
	before := servers(t)
	list, err := c.Client.CoreV1().Pods("kube-system").List(t.Context(), metav1.ListOptions{LabelSelector: "k8s-app=kube-dns"})
	if err != nil {
		t.Fatal(err)
	}
	c.kubectl(t, "-n", "kube-system", "delete", "pod", list.Items[0].Name, "--wait=false")
	var pid int
	eventually(t, "a new server", func() error {
		for _, pid = range servers(t) {
			if !slices.Contains(before, pid) {
				return nil
			}
		}
		return errors.New("none is there")
	})
	var took time.Duration
	eventually(t, "the new server to be ready", func() error {
		address, err := addressOf(pid)
		if err != nil {
			return err
		}
		response, err := http.Get("http://" + address + ":8181/ready")
		if err != nil {
			return err
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		took, err = age(pid)
		return err
	})
	c.awaitDNS(t)
	t.Logf("from the start of the process to ready: %v", took)
	if took > barColdStart {
		t.Errorf("that is more than %v", barColdStart)
	}
}

var localAddress = regexp.MustCompile(`\|-- (10\.244\.\d+\.\d+)\n +/32 host LOCAL`)

// addressOf is the address of the Pod that a process is in.
func addressOf(pid int) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/fib_trie", pid))
	if err != nil {
		return "", err
	}
	m := localAddress.FindSubmatch(text)
	if m == nil {
		return "", fmt.Errorf("process %d has no address of a Pod", pid)
	}
	return string(m[1]), nil
}

// age is for how long a process has been there.
func age(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	uptime, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // the name before it may hold spaces
	begun, err := strconv.Atoi(strings.Fields(rest)[19])
	if err != nil {
		return 0, err
	}
	now, err := strconv.ParseFloat(strings.Fields(string(uptime))[0], 64)
	if err != nil {
		return 0, err
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on
	return time.Duration(now*float64(time.Second)) - time.Duration(begun)*tick, nil
}

// badCorefile rolls out a Corefile with a directive that CoreDNS has and Waypost does not: the new Pods do not start and say
// why, on one line, while the old ones serve on.
func (c *town) badCorefile(t *testing.T) {
	maps := c.Client.CoreV1().ConfigMaps("kube-system")
	good, err := maps.Get(t.Context(), "coredns", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	traffic := c.startTraffic(t, c.Nodes, gentleRate)
	write := func(corefile string) {
		t.Helper()
		patch, _ := json.Marshal(map[string]any{"data": map[string]string{"Corefile": corefile}}) // text can be written
		c.kubectl(t, "-n", "kube-system", "patch", "configmap", "coredns", "--type=merge", "-p", string(patch))
	}
	write(strings.Replace(good.Data["Corefile"], "loadbalance", "route53 example.org.:Z1\n    loadbalance", 1))
	c.kubectl(t, "-n", "kube-system", "rollout", "restart", "deployment/coredns")
	var bad *core.Pod
	eventually(t, "a new Pod to fail", func() error {
		bad, err = c.failedPod(t)
		return err
	})
	var said string
	eventually(t, "the new Pod to say why", func() error { // kubelet has perhaps just started it again, or has no log at the moment
		if said = c.kubectl(t, "-n", "kube-system", "logs", bad.Name); !strings.Contains(said, "Corefile") {
			return fmt.Errorf("kubectl logs prints %q", said)
		}
		return nil
	})
	if strings.Count(said, "\n") != 1 || !strings.Contains(said, "/etc/coredns/Corefile:22") || !strings.Contains(said, "route53") {
		t.Errorf("kubectl logs of the new Pod:\n%s", said)
	}
	t.Logf("kubectl logs of the new Pod: %s", said)
	write(good.Data["Corefile"])
	c.restartDNS(t)
	traffic.lostNothing(t, "a Corefile could not be served")
}

// failedPod is a DNS Pod whose server has ended with an error.
func (c *town) failedPod(t *testing.T) (*core.Pod, error) {
	list, err := c.Client.CoreV1().Pods("kube-system").List(t.Context(), metav1.ListOptions{LabelSelector: "k8s-app=kube-dns"})
	if err != nil {
		return nil, err
	}
	for i := range list.Items {
		for _, s := range list.Items[i].Status.ContainerStatuses {
			if s.State.Terminated != nil || s.State.Waiting != nil && s.LastTerminationState.Terminated != nil {
				return &list.Items[i], nil
			}
		}
	}
	return nil, errors.New("none has")
}
