package prometheus

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/waypost/waypost/message"
)

// counters are those of one shard of one series. Whoever counts adds to them without a lock; as long as shards are not
// shared the cache line is the counter's own, and an addition takes a few nanoseconds.
type counters struct {
	requests     [message.Transports][families][types]atomic.Uint64
	withDO       atomic.Uint64
	durations    [len(durationBounds) + 1]atomic.Uint64
	nanoseconds  atomic.Uint64 // all durations together
	requestSize  [message.Transports]sizes
	responseSize [message.Transports]sizes
	responses    [2][rcodes]atomic.Uint64 // without and with a directive that wrote the reply
}

// sizes counts messages by length.
type sizes struct {
	counts [len(sizeBounds) + 1]atomic.Uint64
	bytes  atomic.Uint64
}

const (
	families = 2
	rcodes   = 25 // 0 to 23 (RFC 6895 section 2.3), and all others together
)

// durationBounds are the upper bounds of the classes of durations: 0.25 ms, and each further one twice as long.
var durationBounds = [...]float64{
	0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192,
}

const firstDuration = 250 * time.Microsecond

// sizeBounds are the upper bounds of the classes of sizes, in bytes.
var sizeBounds = [...]float64{0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16000, 32000, 48000, 64000}

// count counts a query and its reply. written says that a directive wrote the reply, and size how long it is.
func (c *counters) count(q *message.Query, r *message.Reply, written bool, size int) {
	transport := q.Transport
	c.requests[transport][family(q)][typeIndex(q.Type)].Add(1)
	if q.EDNS.DO {
		c.withDO.Add(1)
	}
	took := max(0, time.Since(q.Received))
	c.durations[durationClass(took)].Add(1)
	c.nanoseconds.Add(uint64(took))
	c.requestSize[transport].add(q.Size)
	c.responseSize[transport].add(size)
	by := 0
	if written {
		by = 1
	}
	c.responses[by][min(r.Rcode, rcodes-1)].Add(1)
}

func (s *sizes) add(n int) {
	class := 0
	for class < len(sizeBounds) && n > int(sizeBounds[class]) {
		class++
	}
	s.counts[class].Add(1)
	s.bytes.Add(uint64(n))
}

// durationClass is the first class whose bound d does not exceed.
func durationClass(d time.Duration) int {
	if d <= firstDuration {
		return 0
	}
	return min(bits.Len64(uint64(d-1)/uint64(firstDuration)), len(durationBounds))
}

// family is the index of the client's address family: IPv4 counts as 1, IPv6 as 2.
func family(q *message.Query) int {
	if addr := q.From.Addr(); addr.Is4() || addr.Is4In6() {
		return 0
	}
	return 1
}

// countedTypes are the question types that are counted by name; every other one counts as "other".
var countedTypes = [...]struct {
	typ  message.Type
	name string
}{
	{message.TypeA, "A"}, {message.TypeAAAA, "AAAA"}, {message.TypeCNAME, "CNAME"}, {message.TypeDNSKEY, "DNSKEY"},
	{message.TypeDS, "DS"}, {message.TypeMX, "MX"}, {message.TypeNSEC3, "NSEC3"}, {message.TypeNSEC, "NSEC"},
	{message.TypeNS, "NS"}, {message.TypePTR, "PTR"}, {message.TypeRRSIG, "RRSIG"}, {message.TypeSOA, "SOA"},
	{message.TypeSRV, "SRV"}, {message.TypeTXT, "TXT"}, {message.TypeHTTPS, "HTTPS"}, {message.TypeSVCB, "SVCB"},
	{message.TypeIXFR, "IXFR"}, {message.TypeAXFR, "AXFR"}, {message.TypeANY, "ANY"},
}

const types = len(countedTypes) + 1 // "other" is the last

// typeIndex is a type's place in countedTypes. The usual ones stand first.
func typeIndex(t message.Type) int {
	for i := range countedTypes {
		if countedTypes[i].typ == t {
			return i
		}
	}
	return types - 1
}
