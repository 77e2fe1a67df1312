package bench

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/waypost/waypost/e2e/lab"
)

// silenceCorefile is the usual one; /metrics tells how many goroutines there are.
const silenceCorefile = `
. {
    errors
    health {$HEALTH}
    ready {$READY}
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig {$KUBECONFIG}
        pods insecure
        ttl 30
    }
    prometheus {$METRICS}
    forward . 127.0.0.1:10070 {
        max_concurrent 1000
    }
    cache 30
    loadbalance
}
`

// How the upstream falls silent, and for how long; half of the questions are for names of the cluster.
const (
	silencePace     = 5000 // questions a second
	silenceServices = 100
	calmFor         = 10 * time.Second
	silentFor       = 60 * time.Second
	backFor         = 10 * time.Second
)

// silence is what a server made of its upstream's silence.
type silence struct {
	calm, silent     latencies // of the cluster's names
	lost             int       // questions for the cluster's names without a right answer, while the upstream was silent
	early, late      state     // 10 s into the silence, and at its end
	recovery         time.Duration
	clients          int // forwarded questions that got an answer, if only an error, while the upstream was silent
	clientsForwarded int
}

// state is what a server holds.
type state struct {
	memory     int64
	goroutines float64
}

// TestSilence prints what CoreDNS and Waypost make of an upstream that does not answer any more.
func TestSilence(t *testing.T) {
	p, control := startControlPlane(t)
	if err := loadSome(t.Context(), control.Client, silenceServices); err != nil {
		t.Fatal(err)
	}
	upstream, err := startUpstream(t.Context(), upstreamAddress)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(upstream.Stop)
	done := map[string]*silence{}
	for _, name := range []string{"coredns", "waypost"} {
		d, err := lab.LaunchDNS(lab.DNSOptions{
			Name: name, Program: p.Path(name), Corefile: silenceCorefile, Kubeconfig: control.Kubeconfig, Port: resolverAddress.Port(),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(d.Stop)
		for _, probe := range []string{fqdn(silenceServices - 1), "up.upstream.example."} {
			if err := awaitName(t.Context(), d.Process, d.Address, probe); err != nil {
				t.Fatal(err)
			}
		}
		done[name] = fallSilent(t, d, upstream)
		d.Stop()
	}
	t.Log(silenceTable(done["coredns"], done["waypost"]))
}

// fallSilent asks a server all the while that its upstream is there, is not, and is again.
func fallSilent(t *testing.T, d *lab.DNS, upstream *lab.Process) *silence {
	t.Helper()
	signal := func(s syscall.Signal) time.Time {
		if err := syscall.Kill(upstream.PID(), s); err != nil {
			t.Fatal(err)
		}
		return time.Now()
	}
	defer signal(syscall.SIGCONT)
	p, err := startPace(d.Address, silencePace, func(i int) string {
		if i%2 == 0 {
			return fqdn(i/2%silenceServices/10*10 + 5) // not headless
		}
		return fmt.Sprintf("%s-%d.upstream.example.", d.Name, i)
	})
	if err != nil {
		t.Fatal(err)
	}
	s := new(silence)
	start := time.Now()
	time.Sleep(calmFor) // the time is what is measured
	stopped := signal(syscall.SIGSTOP)
	time.Sleep(silentFor / 6)
	s.early = look(t, d)
	time.Sleep(silentFor - silentFor/6)
	s.late = look(t, d)
	back := signal(syscall.SIGCONT)
	time.Sleep(backFor)
	all, err := p.stop(6 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	s.count(all, start.Add(time.Second), stopped, back)
	return s
}

// count sorts out what came of the questions; those before start are for warming up.
func (s *silence) count(all []asked, start, stopped, back time.Time) {
	for i := range all {
		q, ours := &all[i], i%2 == 0
		quiet := !q.at.Before(stopped) && q.at.Before(back)
		switch {
		case q.at.Before(start):
		case ours && q.at.Before(stopped):
			s.calm = append(s.calm, q.took)
		case ours && quiet && !q.answered():
			s.lost++
		case ours && quiet:
			s.silent = append(s.silent, q.took)
		case quiet:
			s.clientsForwarded++
			if q.took > 0 {
				s.clients++
			}
		case !ours && q.at.After(back) && (!q.answered() || q.took > time.Second):
			s.recovery = q.at.Sub(back)
		}
	}
	slices.Sort(s.calm)
	slices.Sort(s.silent)
}

// look reads a server's memory and goroutines.
func look(t *testing.T, d *lab.DNS) state {
	t.Helper()
	memory, _, err := d.Memory()
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.Get("http://" + d.Metrics.String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return state{memory, number(bytes.TrimSpace(text), `(?m)^go_goroutines (\d+)`)}
}

// silenceTable prints the figures as they are reported.
func silenceTable(coredns, waypost *silence) string {
	var out strings.Builder
	fmt.Fprintf(&out, "\n\nAll upstreams silent for %.0f s under %d questions a second, half of them for names of the cluster; one run\n\n", silentFor.Seconds(), silencePace)
	fmt.Fprintln(&out, "| figure | CoreDNS 1.15.0 | Waypost | bar |")
	fmt.Fprintln(&out, "|---|---|---|---|")
	row := func(name, bar string, of func(*silence) string) {
		fmt.Fprintf(&out, "| %s | %s | %s | %s |\n", name, of(coredns), of(waypost), bar)
	}
	micros := func(l latencies) string {
		return fmt.Sprintf("%d us, %d us", l.at(0.5).Microseconds(), l.at(0.99).Microseconds())
	}
	row("cluster names while all is well, p50 and p99", "", func(s *silence) string { return micros(s.calm) })
	row("cluster names during the silence, p50 and p99", "", func(s *silence) string { return micros(s.silent) })
	row("the p99 grows by", "<= 2 x", func(s *silence) string {
		return fmt.Sprintf("%.2f x", float64(s.silent.at(0.99))/float64(max(s.calm.at(0.99), 1)))
	})
	row("cluster names without a right answer", "0", func(s *silence) string { return fmt.Sprint(s.lost) })
	row("memory, 10 s into the silence and at its end", "flat", func(s *silence) string {
		return fmt.Sprintf("%.0f MB, %.0f MB", float64(s.early.memory)/1e6, float64(s.late.memory)/1e6)
	})
	row("goroutines at the same times", "flat", func(s *silence) string {
		return fmt.Sprintf("%.0f, %.0f", s.early.goroutines, s.late.goroutines)
	})
	row("forwarded questions that were told of the failure", "", func(s *silence) string {
		return fmt.Sprintf("%d of %d", s.clients, s.clientsForwarded)
	})
	row("until the last failure after the upstream's return", "<= 2 s", func(s *silence) string {
		return fmt.Sprintf("%.2f s", s.recovery.Seconds())
	})
	return out.String()
}
