package e2e

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// compareLines compares the lines of log and errors about questions that both servers answered with the same code and
// flags, in whatever order: without clients' ports, times, and the sizes of replies.
func (f *corefile) compareLines(ctx context.Context, replies []reply, coredns, waypost *place) []string {
	ctx, cancel := context.WithTimeout(ctx, patienceForTrouble)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	alike, again := answeredAlike(replies), map[lineKey]bool{}
	if !uncached(f) {
		again = askedAgain(replies)
	}
	for {
		different := differentLines(coredns.lines(alike, again), waypost.lines(alike, again))
		if len(different) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return different
		case <-ticker.C:
		}
	}
}

// lineKey tells questions apart in log lines, as far as those say.
type lineKey struct {
	id   uint16 // 0 in lines of errors
	name string // lower case
	typ  string
}

// answeredAlike are the questions without EDNS options to which both answers have the same code and flags, and none that was asked otherwise too
// under the same key.
func answeredAlike(replies []reply) map[lineKey]bool {
	alike := map[lineKey]bool{}
	for _, r := range replies {
		id := uint16(r.Packet[0])<<8 | uint16(r.Packet[1])
		var m dns.Msg // CoreDNS takes some EDNS options out of a query before it prints the length
		plain := m.Unpack(r.Packet) == nil && (m.IsEdns0() == nil || len(m.IsEdns0().Option) == 0)
		same := plain && r.failed == nil && !r.coredns.None && !r.waypost.None && r.coredns.Rcode == r.waypost.Rcode && r.coredns.Flags == r.waypost.Flags &&
			len(r.coredns.Sections[1]) == len(r.waypost.Sections[1]) && len(r.coredns.Sections[0]) == len(r.waypost.Sections[0])
		for _, id := range []uint16{id, 0} {
			key := lineKey{id, strings.ToLower(r.Name), dns.Type(r.Type).String()}
			before, seen := alike[key]
			alike[key] = same && (before || !seen)
		}
	}
	return alike
}

// askedAgain are the questions that were asked several times, as far as lines of errors tell them apart. Failures are kept for
// some seconds: whether a later question failed once more, or was told of what had failed before, depends on when it was asked.
func askedAgain(replies []reply) map[lineKey]bool {
	again := map[lineKey]bool{}
	for _, r := range replies {
		key := lineKey{0, strings.ToLower(r.Name), dns.Type(r.Type).String()}
		_, seen := again[key]
		again[key] = seen
	}
	return again
}

var (
	logLine = regexp.MustCompile(`^\[INFO\] (\S+):\d+ - (\d+) "(\S+) (\S+) (\S+) (\S+) (\d+) (\S+) (\d+)" (\S+) (\S+) \d+ \S+s$`)
	errLine = regexp.MustCompile(`^\[ERROR\] plugin/errors: (\d+) (\S+) (\S+): (.*)$`)
	ports   = regexp.MustCompile(`(\d|\]):\d+->`)
)

// lines are what the server has printed about the questions, and how often; once, for errors of those that were asked again.
// That something took too long is chance.
func (p *place) lines(about, again map[lineKey]bool) map[string]int {
	lines := map[string]int{}
	for line := range strings.Lines(p.Log()) {
		line = strings.TrimSuffix(line, "\n")
		if m := logLine.FindStringSubmatch(line); m != nil {
			var id uint16
			fmt.Sscan(m[2], &id)
			client := strings.NewReplacer(p.ip4.String(), "ip4", p.ip6.String(), "ip6").Replace(m[1])
			if about[lineKey{id, m[5], m[3]}] {
				lines[fmt.Sprint(client, " ", m[2:], " ")]++
			}
		}
		if m := errLine.FindStringSubmatch(line); m != nil && !strings.HasSuffix(line, "timeout") {
			key := lineKey{0, strings.ToLower(m[2]), m[3]}
			text := strings.NewReplacer(p.ip4.String(), "ip4", p.ip6.String(), "ip6").Replace(ports.ReplaceAllString(m[4], "$1->"))
			switch {
			case again[key] && about[key]:
				lines["[ERROR] "+m[1]+" "+key.name+" "+m[3]+": "+text] = 1
			case about[key]:
				lines["[ERROR] "+m[1]+" "+m[2]+" "+m[3]+": "+text]++
			}
		}
	}
	return lines
}

// errCode is the response code that a line of errors begins with.
var errCode = regexp.MustCompile(`^\[ERROR\] \d+ `)

// differentLines are those that the two servers did not print equally often. CoreDNS knows no response code of some queries
// that failed and prints 0, see docs/differences.md.
func differentLines(want, printed map[string]int) []string {
	got := map[string]int{}
	for line, times := range printed {
		if codeless := errCode.ReplaceAllString(line, "[ERROR] 0 "); want[codeless] > 0 {
			line = codeless
		}
		got[line] += times
	}
	var different []string
	both := maps.Clone(want)
	maps.Copy(both, got)
	for _, line := range slices.Sorted(maps.Keys(both)) {
		if want[line] != got[line] {
			different = append(different, fmt.Sprintf("CoreDNS %d times, Waypost %d: %s", want[line], got[line], line))
		}
	}
	return different
}
