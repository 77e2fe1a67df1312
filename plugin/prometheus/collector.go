package prometheus

import (
	"fmt"
	"strconv"
	"time"

	"github.com/miekg/dns"
	client "github.com/prometheus/client_golang/prometheus"

	"github.com/waypost/waypost/message"
)

// The metrics of queries, with the labels in CoreDNS's order.
var (
	requestsTotal   = desc("requests_total", "Queries by how and from where they came and what they ask.", "proto", "family", "type")
	requestDuration = desc("request_duration_seconds", "Time from receiving a query to having its reply.")
	requestSize     = desc("request_size_bytes", "Length of queries.", "proto")
	withDOTotal     = desc("do_requests_total", "Queries that ask for DNSSEC records (DO).")
	responseSize    = desc("response_size_bytes", "Length of replies without compression and OPT; 0 where no directive wrote one.", "proto")
	responsesTotal  = desc("responses_total", "Replies by response code and by the directive that stands behind prometheus.", "rcode", "plugin")
)

func desc(name, help string, more ...string) *client.Desc {
	return client.NewDesc("coredns_dns_"+name, help, append([]string{"server", "zone", "view"}, more...), nil)
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *client.Desc) {
	for _, d := range []*client.Desc{requestsTotal, requestDuration, requestSize, withDOTotal, responseSize, responsesTotal} {
		ch <- d
	}
}

// Collect implements prometheus.Collector: it adds the shards up. As in CoreDNS what has never been counted is not shown.
func (m *Metrics) Collect(ch chan<- client.Metric) {
	for l, t := range m.totals() {
		t.collect(ch, l)
	}
}

// totals are the sums of all series that have the same server, zone and view.
func (m *Metrics) totals() map[labels]*totals {
	sums := map[labels]*totals{}
	m.mu.Lock()
	defer m.mu.Unlock()
	for l, s := range m.series {
		plugin := l.plugin
		l.plugin = ""
		if sums[l] == nil {
			sums[l] = &totals{responses: map[response]uint64{}}
		}
		for i := range s.shards {
			if c := s.shards[i].Load(); c != nil {
				sums[l].add(c, plugin)
			}
		}
	}
	return sums
}

// totals are the sums of several counters.
type totals struct {
	requests  [message.Transports][families][types]uint64
	withDO    uint64
	durations [len(durationBounds) + 1]uint64
	took      time.Duration
	requestSize,
	responseSize [message.Transports]sizeTotals
	responses map[response]uint64
}

type sizeTotals struct {
	counts [len(sizeBounds) + 1]uint64
	bytes  uint64
}

type response struct{ rcode, plugin string }

func (t *totals) add(c *counters, plugin string) {
	for transport := range t.requests {
		for family := range t.requests[transport] {
			for typ := range t.requests[transport][family] {
				t.requests[transport][family][typ] += c.requests[transport][family][typ].Load()
			}
		}
		t.requestSize[transport].add(&c.requestSize[transport])
		t.responseSize[transport].add(&c.responseSize[transport])
	}
	t.withDO += c.withDO.Load()
	for i := range c.durations {
		t.durations[i] += c.durations[i].Load()
	}
	t.took += time.Duration(c.nanoseconds.Load())
	for rcode := range rcodes {
		t.responses[response{rcodeName(rcode), ""}] += c.responses[0][rcode].Load()
		t.responses[response{rcodeName(rcode), plugin}] += c.responses[1][rcode].Load()
	}
}

func (t *sizeTotals) add(s *sizes) {
	for i := range s.counts {
		t.counts[i] += s.counts[i].Load()
	}
	t.bytes += s.bytes.Load()
}

func (t *totals) collect(ch chan<- client.Metric, l labels) {
	counter := func(d *client.Desc, n uint64, more ...string) {
		if n > 0 {
			ch <- client.MustNewConstMetric(d, client.CounterValue, float64(n), l.values(more...)...)
		}
	}
	for transport := range message.Transports {
		for family := range families {
			for typ, n := range t.requests[transport][family] {
				counter(requestsTotal, n, transport.String(), strconv.Itoa(family+1), typeName(typ))
			}
		}
		t.requestSize[transport].collect(ch, requestSize, l.values(transport.String()))
		t.responseSize[transport].collect(ch, responseSize, l.values(transport.String()))
	}
	counter(withDOTotal, t.withDO)
	histogram(ch, requestDuration, durationBounds[:], t.durations[:], t.took.Seconds(), l.values())
	for r, n := range t.responses {
		counter(responsesTotal, n, r.rcode, r.plugin)
	}
}

func (t *sizeTotals) collect(ch chan<- client.Metric, d *client.Desc, values []string) {
	histogram(ch, d, sizeBounds[:], t.counts[:], float64(t.bytes), values)
}

// histogram sends counts by class, the last of which has no bound.
func histogram(ch chan<- client.Metric, d *client.Desc, bounds []float64, counts []uint64, sum float64, values []string) {
	buckets := make(map[float64]uint64, len(bounds))
	total := uint64(0)
	for i, n := range counts {
		total += n
		if i < len(bounds) {
			buckets[bounds[i]] = total
		}
	}
	if total > 0 {
		ch <- client.MustNewConstHistogram(d, total, sum, buckets, values...)
	}
}

// values are the label values of a metric.
func (l labels) values(more ...string) []string {
	return append([]string{l.server, l.zone, l.view}, more...)
}

func typeName(i int) string {
	if i == types-1 {
		return "other"
	}
	return countedTypes[i].name
}

// rcodeName is the name of a response code as CoreDNS's metrics have it.
func rcodeName(rcode int) string {
	if rcode == rcodes-1 {
		return "other"
	}
	if name, ok := dns.RcodeToString[rcode]; ok {
		return name
	}
	return fmt.Sprintf("RCODE%d", rcode)
}
