// Package relay is what directives have in common that pass questions on to other servers: which names they take, whom they
// ask first, which questions are the same to those servers, and what clients are told when nobody answers.
package relay

import (
	"fmt"

	"github.com/coredns/caddy/caddyfile"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/message"
)

// Reach is which names are passed on: those at or below one zone, but not those below some others.
type Reach struct {
	from   message.Name
	except []message.Name
}

// NewReach makes the Reach of zones as a Corefile has them.
func NewReach(from string, except []string) (Reach, error) {
	var r Reach
	var err error
	if r.from, err = message.ParseName(from); err != nil {
		return r, fmt.Errorf("the names under %s: %w", from, err)
	}
	if r.except, err = message.ParseNames(except); err != nil {
		return r, fmt.Errorf("except: %w", err)
	}
	return r, nil
}

// From is the zone whose names are passed on.
func (r *Reach) From() message.Name { return r.from }

// Takes reports whether the name is to be passed on.
func (r *Reach) Takes(q *message.Query) bool {
	if !q.Under(r.from) {
		return false
	}
	return len(q.Lower()) == len(r.from) || !q.UnderAny(r.except)
}

// ParseHead reads what stands before the braces: FROM, a zone, and TO, at least one word.
func ParseHead(c *caddyfile.Dispenser) (from string, to []string, warnings []config.Warning, err error) {
	if !c.NextArg() {
		return "", nil, nil, c.ArgErr()
	}
	text := c.Val()
	zones, _ := config.ParseZones([]string{text})
	if len(zones) == 0 {
		return "", nil, nil, fmt.Errorf("unable to normalize '%s'", text)
	}
	if from = zones[0]; len(zones) > 1 {
		warnings = append(warnings, config.At(c).Warningf("Unsupported CIDR notation: '%s' expands to multiple zones. Using only '%s'.", text, from))
	}
	if to = c.RemainingArgs(); len(to) == 0 {
		return from, nil, warnings, c.ArgErr()
	}
	return from, to, warnings, nil
}

// AppendKey appends what tells questions to other servers from each other.
func AppendKey(key []byte, q *message.Query, over message.Transport) []byte {
	flags := byte(over)
	for i, set := range []bool{q.Bits&message.BitRD != 0, q.Bits&message.BitCD != 0, q.EDNS.Present, q.EDNS.DO} {
		if set {
			flags |= 2 << i
		}
	}
	key = append(key, flags, byte(q.Type>>8), byte(q.Type), byte(q.Class>>8), byte(q.Class))
	key = append(key, q.Lower()...)
	return q.EDNS.EndToEnd(key)
}

// Codes of Extended DNS Errors (RFC 8914 section 4).
const (
	OtherError           = 0
	NoReachableAuthority = 22
	NetworkError         = 23
)
