package upstream

import "time"

// roundTrip knows how long a server takes to reply, as RFC 6298 section 2 estimates it.
type roundTrip struct {
	mean, deviation time.Duration // zero while nothing is known
}

// Bounds of the time after which a question is sent again.
const (
	leastPatience = 200 * time.Millisecond
	firstPatience = 500 * time.Millisecond // while nothing is known
)

// took takes account of a reply.
func (t *roundTrip) took(d time.Duration) {
	if t.mean == 0 {
		t.mean, t.deviation = max(d, 1), d/2
		return
	}
	t.deviation += ((t.mean - d).Abs() - t.deviation) / 4
	t.mean += (d - t.mean) / 8
}

// patience is how long a reply takes at most, usually.
func (t *roundTrip) patience() time.Duration {
	if t.mean == 0 {
		return firstPatience
	}
	return max(t.mean+4*t.deviation, leastPatience)
}
