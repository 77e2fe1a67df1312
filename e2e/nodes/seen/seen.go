// Package seen is what the clients in the Pods of the cluster test tell of what they have seen.
package seen

import "time"

// Tally is what a client counts.
type Tally struct {
	Begun, Done, Failed int
	LastFailed          time.Time     // when the last one that failed began; zero without one
	Longest             time.Duration // of one attempt
	Failures            []Failure     // the first ones
}

// MaxFailures is how many failures are told of.
const MaxFailures = 20

// Failure is an attempt that did not get what it ought to.
type Failure struct {
	Begun time.Time
	Took  time.Duration
	What  string
}
