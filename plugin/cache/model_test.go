package cache

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// model is a naive cache of one name: what RFC 8767 and the options want, without a thought for speed.
type model struct {
	o           Options
	data        string // what the origin said, "" for nothing
	ttl         int
	stored      time.Time
	failedUntil time.Time
	failure     string
}

// ask returns the reply that a client gets, given what the origin says now, and whether that was asked.
func (m *model) ask(now time.Time, says string) (reply string, asked bool) {
	age := int(now.Sub(m.stored) / time.Second)
	have := m.data != ""
	usable := have && age-m.ttl < int(m.o.Stale.UpTo/time.Second)
	failed := now.Before(m.failedUntil)
	switch {
	case have && age < m.ttl:
		return m.data, false
	case usable && failed:
		return "stale " + m.data, false
	case usable && !m.o.Stale.Verify:
		reply = "stale " + m.data
		m.learn(now, says)
		return reply, true
	case usable:
		if !m.learn(now, says) {
			return "stale " + m.data, true
		}
		return m.data, true
	case failed:
		return m.failure, false
	}
	if !m.learn(now, says) {
		return says, true
	}
	return m.data, true
}

// learn takes over what the origin says, if it is data or a denial.
func (m *model) learn(now time.Time, says string) bool {
	if says == "SERVFAIL" {
		m.failure, m.failedUntil = says, now.Add(m.o.ServFail)
		return false
	}
	m.data, m.ttl, m.stored, m.failedUntil = says, 60, now, time.Time{}
	if says == "denied" {
		m.ttl = 30
	}
	return true
}

// TestModel asks a cache and the model the same questions at random times while the origin changes its mind.
func TestModel(t *testing.T) {
	replies := map[string]string{"one": one, "two": two, "denied": denied, "SERVFAIL": "SERVFAIL"}
	for _, lines := range []string{
		"cache {\ndenial 1000 30\n}",
		"cache {\ndenial 1000 30\nserve_stale 2m\n}",
		"cache {\ndenial 1000 30\nserve_stale 2m verify\nservfail 20s\n}",
	} {
		t.Run(lines, func(t *testing.T) {
			seed := rand.Uint64()
			random := rand.New(rand.NewPCG(seed, 1))
			b := start(t, lines)
			m := &model{o: b.cache.options}
			for i := range 5000 {
				b.pass(time.Duration(random.IntN(40)) * time.Second)
				if random.IntN(10) == 0 {
					b.pass(time.Duration(random.IntN(300)) * time.Second)
				}
				says := []string{"one", "two", "denied", "SERVFAIL"}[random.IntN(4)]
				b.says(replies[says])
				before := b.asked
				got := b.ask("www.example.", dns.TypeA)
				b.refreshed()
				want, asked := m.ask(b.clock, says)
				if short := shorten(got); short != want || (b.asked > before) != asked {
					t.Fatalf("seed %d, question %d at %v: got %s (%s), asked %v; want %s, %v", seed, i, b.clock, short, got, b.asked > before, want, asked)
				}
			}
		})
	}
}

// shorten says in the model's words what a reply is.
func shorten(reply string) string {
	stale := ""
	if strings.Contains(reply, " 0 A ") || strings.Contains(reply, " 0 SOA ") {
		stale = "stale "
	}
	switch {
	case strings.HasSuffix(reply, "192.0.2.1"):
		return stale + "one"
	case strings.HasSuffix(reply, "192.0.2.2"):
		return stale + "two"
	case strings.HasPrefix(reply, "NXDOMAIN"):
		return stale + "denied"
	}
	return reply
}
