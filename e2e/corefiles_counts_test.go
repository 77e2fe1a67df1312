package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// countTimeout is how long a server may take to count what it was asked before.
const countTimeout = 5 * time.Second

// counts are the values of a server's metrics, by name and labels.
type counts map[string]float64

// counts reads what a server shows on all its metrics addresses, but for what is Go's or the process's.
func (p *place) counts(ctx context.Context, f *corefile) (counts, error) {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(_ context.Context, network, address string) (net.Conn, error) { return p.dial(network, address) },
	}}
	all := counts{}
	for _, address := range f.metrics {
		host, port, err := net.SplitHostPort(strings.ReplaceAll(address, podIP, p.ip4.String()))
		if err != nil {
			return nil, fmt.Errorf("read a metrics address: %w", err)
		}
		if ip, err := netip.ParseAddr(host); err != nil || ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/metrics", nil)
		if err != nil {
			return nil, fmt.Errorf("ask %s for metrics: %w", p.Name, err)
		}
		response, err := client.Do(request)
		if err != nil {
			return nil, fmt.Errorf("ask %s for metrics: %w", p.Name, err)
		}
		all.read(response.Body, strings.NewReplacer(p.ip4.String(), podIP))
		response.Body.Close()
	}
	return all, nil
}

// settledCounts reads the metrics until they stay: what was just answered is perhaps still to be counted.
func (p *place) settledCounts(ctx context.Context, f *corefile) (counts, error) {
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	last, err := p.counts(ctx, f)
	for err == nil {
		select {
		case <-ctx.Done():
			return last, nil
		case <-ticker.C:
		}
		var now counts
		if now, err = p.counts(ctx, f); err != nil && ctx.Err() != nil {
			return last, nil
		}
		if err == nil && maps.Equal(now.of("coredns_dns_requests_total"), last.of("coredns_dns_requests_total")) {
			return now, nil
		}
		last = now
	}
	return nil, err
}

// growth is how much the values of two servers have grown, once they have grown alike, or do not grow any more.
func (f *corefile) growth(ctx context.Context, coredns, waypost *place, before [2]counts) (grown [2]counts, err error) {
	ctx, cancel := context.WithTimeout(ctx, patienceForTrouble)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for still := 0; still < 10; still++ {
		for i, p := range []*place{coredns, waypost} {
			now, err := p.counts(ctx, f)
			switch {
			case err != nil && ctx.Err() != nil:
				return grown, nil
			case err != nil:
				return grown, err
			}
			now = now.since(before[i])
			if !maps.Equal(now.of("coredns_dns_requests_total"), grown[i].of("coredns_dns_requests_total")) {
				still = 0
			}
			grown[i] = now
		}
		if len(miscounted(grown[0], grown[1], 0)) == 0 {
			break
		}
		select {
		case <-ctx.Done():
			return grown, nil
		case <-ticker.C:
		}
	}
	return grown, nil
}

// probed waits for the queries of the loop directives, so that they are not counted among the questions. They are of a type
// that has no name of its own in metrics. Where their upstream does not let them come back, there are fewer.
func (p *place) probed(ctx context.Context, f *corefile) error {
	if len(f.metrics) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		now, err := p.counts(ctx, f)
		if err != nil && ctx.Err() == nil {
			return err
		}
		seen := 0.0
		for labels, n := range now.of("coredns_dns_requests_total") {
			if strings.Contains(labels, `type="other"`) {
				seen += n
			}
		}
		if seen >= float64(f.probes) {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// read adds what a page of metrics says about DNS. Addresses have the one form that all servers' have.
func (c counts) read(text io.Reader, address *strings.Replacer) {
	for lines := bufio.NewScanner(text); lines.Scan(); {
		end := strings.LastIndexByte(lines.Text(), ' ')
		name, value := lines.Text()[:max(end, 0)], lines.Text()[end+1:]
		if !strings.Contains(name, "{") {
			name += "{}"
		}
		if n, err := strconv.ParseFloat(value, 64); err == nil && strings.HasPrefix(name, "coredns_") {
			c[strings.ToLower(address.Replace(name))] = n
		}
	}
}

// since is how much each value has grown.
func (c counts) since(before counts) counts {
	grown := counts{}
	for name, n := range c {
		if n != before[name] {
			grown[name] = n - before[name]
		}
	}
	return grown
}

// of are the values of one metric, summed over the labels named.
func (c counts) of(metric string, over ...string) counts {
	some := counts{}
	for name, n := range c {
		labels, ok := strings.CutPrefix(name, metric+"{")
		if !ok {
			continue
		}
		kept := slices.DeleteFunc(label.FindAllString(labels, -1), func(label string) bool {
			key, _, _ := strings.Cut(label, "=")
			return slices.Contains(over, key)
		})
		slices.Sort(kept)
		some[strings.Join(kept, ",")] += n
	}
	return some
}

// queryMetrics count queries, so that the same queries give the same counts: response codes apart, in which departures can be
// seen.
var queryMetrics = []string{
	"coredns_dns_requests_total", "coredns_dns_responses_total", "coredns_dns_do_requests_total", "coredns_dns_request_duration_seconds_count",
	"coredns_dns_request_size_bytes_count", "coredns_dns_response_size_bytes_count",
}

// miscounted says where the two servers counted the same questions differently. They also count the questions that they
// ask themselves, as for the target of an alias: there may be so many more or fewer of those.
func miscounted(coredns, waypost counts, inner int) []string {
	var wrong []string
	for _, metric := range queryMetrics {
		want, got := coredns.of(metric, "rcode"), waypost.of(metric, "rcode")
		for _, labels := range slices.Sorted(maps.Keys(union(want, got))) {
			if math.Abs(want[labels]-got[labels]) > float64(inner) {
				wrong = append(wrong, fmt.Sprintf("%s{%s}: CoreDNS %v, Waypost %v", metric, labels, want[labels], got[labels]))
			}
		}
	}
	return wrong
}

// usedMetrics are those whose series must be in both where they are in one, with the labels that need not be the same: which
// of several upstreams is asked is chance.
var usedMetrics = map[string][]string{
	"coredns_cache_requests_total": nil, "coredns_proxy_request_duration_seconds_count": {"rcode", "to"}, "coredns_template_matches_total": nil,
}

// misused says which caches, upstreams and templates one server has used and the other has not. The caches of the zones
// named are left out: Waypost answers names of the cluster always fresh.
func misused(coredns, waypost counts, fresh []string) []string {
	var wrong []string
	for metric, over := range usedMetrics {
		want, got := coredns.of(metric, over...), waypost.of(metric, over...)
		for _, labels := range slices.Sorted(maps.Keys(union(want, got))) {
			if metric == "coredns_cache_requests_total" && within(labels, fresh) {
				continue
			}
			if (want[labels] > 0) != (got[labels] > 0) {
				wrong = append(wrong, fmt.Sprintf("%s{%s}: CoreDNS %v, Waypost %v", metric, labels, want[labels], got[labels]))
			}
		}
	}
	return wrong
}

// zonesLabel names the zones that a cache is for.
var zonesLabel = regexp.MustCompile(`zones="([^"]*)"`)

// within reports whether all the zones in a series' labels are among some.
func within(labels string, some []string) bool {
	named := zonesLabel.FindStringSubmatch(labels)
	return named != nil && !slices.ContainsFunc(strings.Split(named[1], ","), func(zone string) bool { return !slices.Contains(some, zone) })
}

// missingMetrics are those that CoreDNS shows and Waypost does not, and differing plugins.
func missingMetrics(coredns, waypost counts) []string {
	var wrong []string
	there := waypost.metrics()
	for _, metric := range slices.Sorted(maps.Keys(coredns.metrics())) {
		if there[metric] == 0 && !slices.Contains(occasional, metric) {
			wrong = append(wrong, metric+" is missing")
		}
	}
	want, got := coredns.of("coredns_plugin_enabled"), waypost.of("coredns_plugin_enabled")
	for _, labels := range slices.Sorted(maps.Keys(union(want, got))) {
		if want[labels] != got[labels] {
			wrong = append(wrong, fmt.Sprintf("coredns_plugin_enabled{%s}: CoreDNS %v, Waypost %v", labels, want[labels], got[labels]))
		}
	}
	return wrong
}

// occasional are the metrics that are shown only once something has happened that need not: a change of the cluster, a
// question that is asked often, a reply that came too late. The last of them is never shown, see docs/differences.md.
var occasional = []string{
	"coredns_kubernetes_dns_programming_duration_seconds_sum", "coredns_kubernetes_dns_programming_duration_seconds_count",
	"coredns_kubernetes_dns_programming_duration_seconds_bucket", "coredns_cache_prefetch_total", "coredns_cache_served_stale_total",
	"coredns_cache_evictions_total", "coredns_proxy_healthcheck_failures_total", "coredns_cache_drops_total",
}

// metrics are the names alone.
func (c counts) metrics() counts {
	names := counts{}
	for name := range c {
		metric, _, _ := strings.Cut(name, "{")
		names[metric] = 1
	}
	return names
}

func union(a, b counts) counts {
	both := maps.Clone(a)
	maps.Copy(both, b)
	return both
}
