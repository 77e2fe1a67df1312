package bench

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// flow is how new connections get through.
type flow struct {
	perSecond  float64       // with several clients at once
	byte1, p99 time.Duration // from connect to the first byte, with one client: half and 99 of 100
}

// connects and clients are how much is asked of a way.
const (
	connects = 2500 // by the one client
	clients  = 4
	crowding = time.Second
)

// measureFlow connects from a node's client to one target after the other.
func (v *node) measureFlow(targets []netip.AddrPort) (flow, error) {
	var f flow
	var all latencies
	err := v.client.Do(func() error {
		for i := range connects {
			start := time.Now()
			if _, err := talk(targets[i*7919%len(targets)], time.Second); err != nil {
				return fmt.Errorf("connect to %s: %w", targets[i*7919%len(targets)], err)
			}
			all = append(all, time.Since(start))
		}
		return nil
	})
	if err != nil {
		return f, err
	}
	slices.Sort(all)
	f.byte1, f.p99 = all.at(0.5), all.at(0.99)
	f.perSecond, err = v.crowd(targets)
	return f, err
}

// crowd has several clients connect at once and returns how many connections a second they had.
func (v *node) crowd(targets []netip.AddrPort) (float64, error) {
	var group sync.WaitGroup
	counts, failed := make([]int, clients), make([]error, clients)
	start := time.Now()
	for n := range clients {
		group.Go(func() {
			failed[n] = v.client.Do(func() error {
				for i := n; time.Since(start) < crowding; i++ {
					if _, err := talk(targets[i*7919%len(targets)], time.Second); err != nil {
						return fmt.Errorf("connect to %s: %w", targets[i*7919%len(targets)], err)
					}
					counts[n]++
				}
				return nil
			})
		})
	}
	group.Wait()
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return float64(sum) / time.Since(start).Seconds(), errors.Join(failed...)
}

// better keeps the better of two measurements of one way: what else the machine does only ever harms.
func (f flow) better(g flow) flow {
	if f.perSecond == 0 {
		return g
	}
	return flow{max(f.perSecond, g.perSecond), min(f.byte1, g.byte1), min(f.p99, g.p99)}
}
