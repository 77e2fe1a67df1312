package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/e2e/lab"
)

// The processors that the server under load and dnsperf are kept to.
const (
	serverCore  = "0"
	dnsperfCore = "1"
)

// questions writes a file of questions for dnsperf: 40 % ClusterIP A, 20 % AAAA (no data), 25 % search-path misses (name
// errors), 5 % headless A, 5 % SRV, 5 % PTR of endpoints.
func questions() (string, error) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(wanted bool) int {
		for {
			if i := random.IntN(services); headless(i) == wanted {
				return i
			}
		}
	}
	var text strings.Builder
	for range 100_000 {
		name, kind := "", "A"
		switch p := random.IntN(100); {
		case p < 40:
			name = fqdn(pick(false))
		case p < 60:
			name, kind = fqdn(pick(false)), "AAAA"
		case p < 85:
			name = fqdn(pick(false)) + namespace(pick(false)) + ".svc.cluster.local."
		case p < 90:
			name = fqdn(pick(true))
		case p < 95:
			name, kind = "_http._tcp."+fqdn(pick(true)), "SRV"
		default:
			reverse, err := dns.ReverseAddr(address(random.IntN(services), random.IntN(endpoints)).String())
			if err != nil {
				return "", fmt.Errorf("make a reverse name: %w", err)
			}
			name, kind = reverse, "PTR"
		}
		fmt.Fprintln(&text, name, kind)
	}
	file := filepath.Join(lab.Folder(), "questions")
	return file, os.WriteFile(file, []byte(text.String()), 0o644)
}

// calm is how long a server has to come to rest after it was busy.
const calm = 10 * time.Second

// loaded is what a server did under load.
type loaded struct {
	queries, lost int
	perSecond     float64
	micros        float64 // of processor time, for each query
	latency       float64 // microseconds, the mean
	memory        int64   // bytes afterwards
}

// A load is repeated: what else the machine does only ever adds, so the round that took the least processor time says most about
// a server.
const (
	loadRounds  = 10
	loadSeconds = 2 // of a round
)

// bestOf says in tables how loads are measured.
var bestOf = fmt.Sprintf("of loads the best of %d rounds of %d s", loadRounds, loadSeconds)

// measureBest sends questions in rounds, each with the next of the files, and returns the round that took the least, with what
// was lost in all of them and the memory after the last.
func measureBest(p *lab.Process, server netip.AddrPort, files ...string) (best loaded, err error) {
	lost, memory := 0, int64(0)
	for n := range loadRounds {
		l, err := measure(p, server, files[n%len(files)], loadSeconds, atFullSpeed)
		if err != nil {
			return loaded{}, err
		}
		if lost, memory = lost+l.lost, l.memory; n == 0 || l.micros < best.micros {
			best = l
		}
	}
	best.lost, best.memory = lost, memory
	return best, nil
}

// quietRates are those, of questions a second, at which a server has time in between, as it has in most clusters.
var quietRates = []int{5_000, 20_000}

// quietRounds is how often each of them is measured.
const quietRounds = 3

// measureQuiet sends questions at each of quietRates and returns, for each, the round that took the least.
func measureQuiet(p *lab.Process, server netip.AddrPort, file string) ([]loaded, error) {
	best := make([]loaded, len(quietRates))
	for i, rate := range quietRates {
		for n := range quietRounds {
			l, err := measure(p, server, file, loadSeconds, rate)
			if err != nil {
				return nil, err
			}
			if n == 0 || l.micros < best[i].micros {
				best[i] = l
			}
		}
	}
	return best, nil
}

// besideSeconds is how long queries are sent over TCP beside a load.
const besideSeconds = 4

// measureBeside is how long queries over TCP take, one after the other, while the server has as many over UDP as it takes.
func measureBeside(ctx context.Context, p *lab.Process, server netip.AddrPort, file string) (latencies, error) {
	client := dns.Client{Net: "tcp", Timeout: time.Minute}
	conn, err := client.DialContext(ctx, server.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ended := make(chan error, 1)
	go func() {
		_, err := measure(p, server, file, besideSeconds, atFullSpeed)
		ended <- err
	}()
	var took latencies
	pace := time.NewTicker(3 * time.Millisecond)
	defer pace.Stop()
	for {
		select {
		case err := <-ended:
			slices.Sort(took)
			return took, err
		case <-pace.C:
		}
		_, rtt, err := client.ExchangeWithConnContext(ctx, new(dns.Msg).SetQuestion(fqdn(5), dns.TypeA), conn)
		if err != nil {
			return nil, fmt.Errorf("ask %s over TCP beside a load: %w", p.Name, err)
		}
		took = append(took, rtt)
	}
}

// atFullSpeed is the rate of as many questions as a server takes.
const atFullSpeed = 0

// measure sends questions for some seconds, rate of them in each.
func measure(p *lab.Process, server netip.AddrPort, file string, seconds, rate int) (loaded, error) {
	before, err := p.CPU()
	if err != nil {
		return loaded{}, err
	}
	command := []string{"-c", dnsperfCore, "dnsperf", "-s", server.Addr().String(), "-p", fmt.Sprint(server.Port()),
		"-d", file, "-c", "16", "-q", "400", "-t", "1", "-l", fmt.Sprint(seconds)}
	if rate != atFullSpeed {
		command = append(command, "-Q", fmt.Sprint(rate))
	}
	out, err := exec.Command("taskset", command...).CombinedOutput()
	if err != nil {
		return loaded{}, fmt.Errorf("dnsperf at %s: %w\n%s", p.Name, err, out)
	}
	after, err := p.CPU()
	if err != nil {
		return loaded{}, err
	}
	l := loaded{
		queries: int(number(out, `Queries completed:\s+(\d+)`)), lost: int(number(out, `Queries lost:\s+(\d+)`)),
		perSecond: number(out, `Queries per second:\s+([\d.]+)`), latency: 1e6 * number(out, `Average Latency \(s\):\s+([\d.]+)`),
	}
	l.micros = float64((after - before).Microseconds()) / float64(max(1, l.queries))
	l.memory, _, err = p.Memory()
	return l, err
}

// number is what the first group of a pattern matches.
func number(text []byte, pattern string) float64 {
	match := regexp.MustCompile(pattern).FindSubmatch(text)
	if match == nil {
		return 0
	}
	n, _ := strconv.ParseFloat(string(match[1]), 64)
	return n
}
