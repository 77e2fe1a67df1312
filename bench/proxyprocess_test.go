package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waypost/waypost/e2e/lab"
	"github.com/waypost/waypost/e2e/peers"
)

// proxyConfig is the configuration of both proxies. The table of flows is the same for all of the machine, so its size is
// left alone.
const proxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: %q}
hostnameOverride: %s
clusterCIDR: 10.0.0.0/9
metricsBindAddress: 0.0.0.0:10249
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s, udpTimeout: 0s, udpStreamTimeout: 0s}
`

// companion is a proxy that runs on a node.
type companion struct {
	*node
	process *lab.Process
	began   time.Time
}

// startCompanion starts waypost-proxy or kube-proxy on a node of its own.
func startCompanion(ctx context.Context, program string, v *node, p *peers.Peers, control *lab.ControlPlane) (*companion, error) {
	err := persist(func() error {
		object := &core.Node{
			ObjectMeta: meta.ObjectMeta{Name: v.name},
			Status:     core.NodeStatus{Addresses: []core.NodeAddress{{Type: core.NodeInternalIP, Address: v.address.String()}}},
		}
		_, err := control.Client.CoreV1().Nodes().Create(ctx, object, meta.CreateOptions{})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("create Node %s: %w", v.name, err)
	}
	access, err := os.ReadFile(control.Kubeconfig)
	if err != nil {
		return nil, err
	}
	access = []byte(strings.ReplaceAll(string(access), "127.0.0.1", apiAddress))
	folder := filepath.Join(lab.Folder(), v.name) // of its own, as that of a ConfigMap is: others write into the lab's
	kubeconfig, config := filepath.Join(folder, "kubeconfig"), filepath.Join(folder, "config.conf")
	err = errors.Join(os.Mkdir(folder, 0o755), os.WriteFile(kubeconfig, access, 0o600), os.WriteFile(config, fmt.Appendf(nil, proxyConfig, kubeconfig, v.name), 0o644))
	if err != nil {
		return nil, err
	}
	c := &companion{node: v, began: time.Now()}
	err = v.space.Do(func() error { // what a thread starts is in its network
		c.process, err = lab.StartProcess(program+"-"+v.name, nil, p.Path(program), "--config="+config)
		return err
	})
	return c, err
}

// awaitAll returns how long after the start the last of some frontends answered.
func (c *companion) awaitAll(targets []netip.AddrPort, patience time.Duration) (time.Duration, error) {
	last := make([]time.Time, len(targets))
	failed := make([]error, len(targets))
	var group sync.WaitGroup
	for i, to := range targets {
		group.Go(func() {
			failed[i] = c.client.Do(func() (err error) {
				last[i], err = await(to, c.process.Done(), patience)
				return err
			})
		})
	}
	group.Wait()
	if err := errors.Join(failed...); err != nil {
		return 0, fmt.Errorf("%w\n%s", err, c.process.LogEnd(20))
	}
	var took time.Duration
	for _, t := range last {
		took = max(took, t.Sub(c.began))
	}
	return took, nil
}

// await tries every few milliseconds until somebody answers.
func await(to netip.AddrPort, ended <-chan struct{}, patience time.Duration) (time.Time, error) {
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for end := time.Now().Add(patience); ; {
		_, err := talk(to, 10*time.Millisecond)
		switch {
		case err == nil:
			return time.Now(), nil
		case time.Now().After(end):
			return time.Time{}, fmt.Errorf("%s does not answer after %s: %w", to, patience, err)
		}
		select {
		case <-pace.C:
		case <-ended:
			return time.Time{}, fmt.Errorf("%s: the proxy has ended", to)
		}
	}
}

// timing is a histogram's sum and count.
type timing struct {
	sum   float64 // seconds
	count float64
}

// mean is the average of what was counted since.
func (t timing) since(before timing) time.Duration {
	if t.count == before.count {
		return 0
	}
	return time.Duration((t.sum - before.sum) / (t.count - before.count) * float64(time.Second))
}

// timing reads a histogram from the proxy's metrics.
func (c *companion) timing(name, labels string) (timing, error) {
	values, err := c.scrape()
	return timing{values[name+"_sum"+labels], values[name+"_count"+labels]}, err
}

// scrape reads all metrics, by name and labels.
func (c *companion) scrape() (map[string]float64, error) {
	response, err := http.Get("http://" + netip.AddrPortFrom(c.address, 10249).String() + "/metrics")
	if err != nil {
		return nil, fmt.Errorf("read the metrics of %s: %w", c.process.Name, err)
	}
	defer response.Body.Close()
	return parseMetrics(response.Body)
}

func parseMetrics(text io.Reader) (map[string]float64, error) {
	values := map[string]float64{}
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		name, value, ok := cutLast(lines.Text())
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			values[name] = v
		}
	}
	return values, lines.Err()
}

func cutLast(line string) (before, after string, ok bool) {
	i := strings.LastIndexByte(line, ' ')
	if i < 0 {
		return "", "", false
	}
	return line[:i], line[i+1:], true
}

// ran is the processor time that all threads of the process have used, to the nanosecond.
func (c *companion) ran() (time.Duration, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", c.process.PID()))
	if err != nil || len(threads) == 0 {
		return 0, fmt.Errorf("find the threads of %s: %w", c.process.Name, errors.Join(err, os.ErrNotExist))
	}
	var sum time.Duration
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if errors.Is(err, os.ErrNotExist) {
			continue // it has just ended
		}
		var ns int64
		if _, scanErr := fmt.Sscan(string(text), &ns); errors.Join(err, scanErr) != nil {
			return 0, fmt.Errorf("read %s: %w", thread, errors.Join(err, scanErr))
		}
		sum += time.Duration(ns)
	}
	return sum, nil
}

// children notes the most memory that a program started by the process had, such as nft, until ctx ends.
func (c *companion) children(ctx context.Context) (most int64) {
	pace := time.NewTicker(50 * time.Millisecond)
	defer pace.Stop()
	for {
		select {
		case <-ctx.Done():
			return most
		case <-pace.C:
		}
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", c.process.PID()))
		for _, list := range lists {
			text, _ := os.ReadFile(list)
			for _, pid := range strings.Fields(string(text)) {
				most = max(most, resident(pid))
			}
		}
	}
}

// resident is the most memory that a process ever had, in bytes; 0 where it has ended.
func resident(pid string) int64 {
	status, _ := os.ReadFile("/proc/" + pid + "/status")
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n << 10
		}
	}
	return 0
}
