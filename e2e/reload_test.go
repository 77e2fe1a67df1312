package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/waypost/waypost/e2e/ask"
	"github.com/waypost/waypost/e2e/lab"
	"github.com/waypost/waypost/e2e/peers"
)

// reloadCorefile is kubeadm's, but for its addresses and for how often it is looked at. What it has of both servers is the
// same, so that they have the same digest: they run one after the other.
const reloadCorefile = `. {
    errors
    health 127.0.0.1:18080 {
       lameduck 5s
    }
    ready 127.0.0.1:18181
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       kubeconfig KUBECONFIG
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus 127.0.0.1:19153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload 2s 0s
    loadbalance
    import reload.import
}
`

// reloading is a server whose Corefile changes.
type reloading struct {
	*lab.DNS
	file string
	seen int    // lines about reloads up to the last call of await
	last string // the last of these
}

// TestReload takes CoreDNS and Waypost through the same changes of a Corefile, good and broken ones, by the timer and by
// SIGUSR1. They must say the same, and show the same metrics; and in Waypost all answers go on.
func TestReload(t *testing.T) {
	control, p := startControlPlane(t)
	corefile := strings.Replace(reloadCorefile, "KUBECONFIG", control.Kubeconfig, 1)
	coredns := reloadStory(t, p, "coredns", corefile)
	waypost := reloadStory(t, p, "waypost", corefile)
	if diff := cmp.Diff(coredns, waypost); diff != "" {
		t.Errorf("(-coredns +waypost)\n%s", diff)
	}
	t.Logf("both say\n%s", waypost)
}

// reloadStory is what a server says and shows while its Corefile changes.
func reloadStory(t *testing.T, p *peers.Peers, program, corefile string) string {
	t.Helper()
	const name = "reload" // the same for both, as it stands in what they print
	imported := filepath.Join(lab.Folder(), "reload.import")
	put := func(file, text string) { // at once: a server may look at any time
		if err := os.WriteFile(file+".new", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	put(imported, "bufsize 1232\n")
	d, err := lab.StartDNS(t.Context(), lab.DNSOptions{
		Name: name, Program: p.Path(program), Corefile: corefile, Port: corednsPort, Probe: "kubernetes.default.svc.cluster.local.",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Stop()
	r := &reloading{DNS: d, file: filepath.Join(lab.Folder(), name+".Corefile")}
	lost := r.keepAsking(t)
	steps := []struct {
		what, text string
		signal     bool
		until      string // what the last line begins with
	}{
		{"other options", strings.Replace(corefile, "ttl 30", "ttl 20", 1), false, "[INFO] Reloading complete"},
		{"an imported file", "", false, "[INFO] Reloading complete"},
		{"a directive that nobody knows", strings.Replace(corefile, "loop", "foo", 1), false, "[ERROR] plugin/reload: Corefile changed"},
		{"what cannot be parsed", strings.Replace(corefile, "lameduck 5s\n    }", "lameduck 5s\n    } }", 1), false, "[WARNING] plugin/reload: Corefile parse failed"},
		{"a comment that moves lines", "# a comment\n" + corefile, false, "[INFO] Reloading complete"},
		{"SIGUSR1 without a change", "# a comment\n" + corefile, true, "[INFO] Reloading complete"},
		{"SIGUSR1 and a directive that nobody knows", strings.Replace(corefile, "loop", "foo", 1), true, "[ERROR] SIGUSR1: "},
	}
	var story strings.Builder
	fmt.Fprintf(&story, "== the start\n%s", r.await(t, "[INFO] plugin/reload: Running configuration SHA512"))
	for _, step := range steps {
		requests := r.requests(t)
		if step.text == "" {
			put(imported, "bufsize 1300\n")
		} else {
			put(r.file, step.text)
		}
		if step.signal {
			if err := syscall.Kill(d.PID(), syscall.SIGUSR1); err != nil {
				t.Fatal(err)
			}
		}
		said := r.await(t, step.until) + r.metrics(t)
		if step.signal { // CoreDNS forgets the directive at SIGUSR1
			said = regexp.MustCompile(`.*(Running configuration|version_info).*\n`).ReplaceAllString(said, "")
		}
		fmt.Fprintf(&story, "== %s\n%s", step.what, said)
		if after := r.requests(t); program == "waypost" && step.signal && after != requests {
			t.Errorf("%s: %d requests to the API server, %d before", step.what, after, requests)
		}
	}
	asked, failed := lost()
	t.Logf("%s: %d questions meanwhile, %d without the answer", program, asked, failed)
	if program == "waypost" && failed > 0 {
		t.Errorf("%d of %d questions had no answer", failed, asked)
	}
	return story.String()
}

// await returns the lines about reloads that the server has printed since it was called last, once there is one that begins so.
func (r *reloading) await(t *testing.T, until string) string {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		about := regexp.MustCompile(`(?m)^.*(Reloading|Restart failed|SIGUSR1|plugin/reload).*\n`).FindAllString(r.Log(), -1)
		if slices.ContainsFunc(about[r.seen:], func(line string) bool { return strings.HasPrefix(line, until) }) {
			lines := slices.Compact(append([]string{r.last}, about[r.seen:]...)) // a broken file is said again and again
			r.seen, r.last = len(about), lines[len(lines)-1]
			return strings.Join(lines[1:], "")
		}
	}
	t.Fatalf("no line %q:\n%s", until, r.LogEnd(30))
	return ""
}

// metrics are those about reloads that CoreDNS has too, once they stay: it sets them after it has printed its lines.
func (r *reloading) metrics(t *testing.T) string {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for last := ""; ; <-tick.C {
		now := strings.Join(regexp.MustCompile(`(?m)^coredns_reload_.*\n`).FindAllString(fetchMetrics(t), -1), "")
		if now != "" && now == last {
			return now
		}
		last = now
	}
}

// requests is how many requests the server has sent to the API server: a watch that goes on is one.
func (r *reloading) requests(t *testing.T) (n int) {
	t.Helper()
	counted := regexp.MustCompile(`(?m)^coredns_kubernetes_rest_client_requests_total\{.*\} (\d+)$`)
	for _, match := range counted.FindAllStringSubmatch(fetchMetrics(t), -1) {
		one, err := strconv.Atoi(match[1])
		if err != nil {
			t.Fatal(err)
		}
		n += one
	}
	if n == 0 {
		t.Error("no requests to the API server are counted")
	}
	return n
}

func fetchMetrics(t *testing.T) string {
	t.Helper()
	response, err := http.Get("http://127.0.0.1:19153/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// keepAsking asks for a Service all the time. What it returns ends that, and says how often it was asked, and how often the
// answer was missing.
func (r *reloading) keepAsking(t *testing.T) (end func() (asked, failed int)) {
	t.Helper()
	conn, err := ask.Dial(r.Address)
	if err != nil {
		t.Fatal(err)
	}
	conn.Tries, conn.Timeout = 1, patience // what is lost stays lost
	question, err := new(dns.Msg).SetQuestion("kubernetes.default.svc.cluster.local.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	ending := make(chan struct{})
	var running sync.WaitGroup
	var asked, failed int
	running.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ending:
				return
			case <-tick.C:
			}
			for _, over := range []func([]byte) ([]byte, error){conn.UDP, conn.TCP} {
				asked++
				if answer, err := over(question); err != nil || answer[3]&0xf != dns.RcodeSuccess || answer[7] != 1 {
					failed++
				}
			}
		}
	})
	return func() (int, int) {
		close(ending)
		running.Wait()
		conn.Close()
		return asked, failed
	}
}
