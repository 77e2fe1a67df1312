package bench

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// flow is how new connections get through, in all rounds together.
type flow struct {
	byte1 latencies     // from connect to the first byte, with one client
	count int           // connections with several clients at once
	spent time.Duration // that they took
}

// A round is short and there are many, in turn for all ways: what else the machine does then meets all alike.
const (
	rounds   = 200
	connects = 250 // by the one client
	clients  = 4
	crowding = 100 * time.Millisecond
)

// flows measures each way in turn, round by round.
func flows[K comparable](ways map[K]way) (map[K]*flow, error) {
	all := map[K]*flow{}
	for round := range rounds {
		for name, w := range ways {
			if all[name] == nil {
				all[name] = &flow{}
			}
			if err := w.measure(all[name], w.nodes[round%len(w.nodes)]); err != nil {
				return nil, err
			}
		}
	}
	for _, f := range all {
		slices.Sort(f.byte1)
	}
	return all, nil
}

// way is from the clients of some nodes, in turn, to some addresses. Of two nodes alike one may be some percent faster at times.
type way struct {
	nodes   []*node
	targets []netip.AddrPort
}

// target is where connection i goes.
func (w way) target(i int) netip.AddrPort { return w.targets[i*7919%len(w.targets)] }

// measure adds a round on a node to f.
func (w way) measure(f *flow, v *node) error {
	from := len(f.byte1)
	err := v.client.Do(func() error {
		for i := from; i < from+connects; i++ {
			start := time.Now()
			if _, err := talk(w.target(i), time.Second); err != nil {
				return fmt.Errorf("connect to %s: %w", w.target(i), err)
			}
			f.byte1 = append(f.byte1, time.Since(start))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return w.crowd(f, v)
}

// crowd has several clients connect at once.
func (w way) crowd(f *flow, v *node) error {
	var group sync.WaitGroup
	counts, failed := make([]int, clients), make([]error, clients)
	start := time.Now()
	for n := range clients {
		group.Go(func() {
			failed[n] = v.client.Do(func() error {
				for i := f.count + n; time.Since(start) < crowding; i++ {
					if _, err := talk(w.target(i), time.Second); err != nil {
						return fmt.Errorf("connect to %s: %w", w.target(i), err)
					}
					counts[n]++
				}
				return nil
			})
		})
	}
	group.Wait()
	for _, n := range counts {
		f.count += n
	}
	f.spent += time.Since(start)
	return errors.Join(failed...)
}

// perSecond is how many connections several clients had in a second.
func (f *flow) perSecond() string { return fmt.Sprintf("%.0f", float64(f.count)/f.spent.Seconds()) }
