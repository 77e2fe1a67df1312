package bench

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/waypost/waypost/proxy/nfnetlink"
)

// monitor hears what anyone changes in a node's nf_tables, as "nft monitor" does: the kernel tells of a transaction once
// packets meet what it made. Both proxies write an endpoint's address as four bytes.
type monitor struct {
	conn *nfnetlink.Conn
	seen chan time.Time // when the address was first told of
	mu   sync.Mutex
	want []byte
}

// monitorBuffer lets a whole table's notifications wait.
const monitorBuffer = 256 << 20

func (v *node) monitor() (*monitor, error) {
	m := &monitor{seen: make(chan time.Time, 1)}
	err := v.space.Do(func() (err error) {
		if m.conn, err = nfnetlink.Dial(nfnetlink.Options{ReceiveBuffer: monitorBuffer}); err == nil {
			err = m.conn.Join(unix.NFNLGRP_NFTABLES)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen to the changes on %s: %w", v.name, err)
	}
	go func() {
		for {
			err := m.conn.Receive(m.hear)
			if err != nil && !errors.Is(err, unix.ENOBUFS) {
				return // closed
			}
		}
	}()
	return m, nil
}

func (m *monitor) close() error { return m.conn.Close() }

func (m *monitor) hear(message nfnetlink.Message) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.want != nil && bytes.Contains(message.Body, m.want) {
		m.want = nil
		m.seen <- time.Now()
	}
}

// expect has the first change with an address told.
func (m *monitor) expect(a netip.Addr) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.want = a.AsSlice()
}

// followed is what came of a round of changes of endpoints.
type followed struct {
	write, kernel latencies     // from the start of a write until the API server had answered, until the kernel had it
	behind        latencies     // from the API server's answer until the kernel had it; 0 where it had it before
	apply         time.Duration // what the proxy itself says a change took, on average
}

// following are rounds of changes. What else the machine does only ever adds to them: with the API server on the same two
// processors, one collection of its garbage takes both for a third of a second.
type following []*followed

// best is the round whose slowest hundredth came soonest.
func (f following) best() *followed {
	return slices.MinFunc(f, func(a, b *followed) int { return cmp.Compare(a.kernel.at(0.99), b.kernel.at(0.99)) })
}

// worst is the opposite.
func (f following) worst() *followed {
	return slices.MaxFunc(f, func(a, b *followed) int { return cmp.Compare(a.kernel.at(0.99), b.kernel.at(0.99)) })
}

// changes says how many changes are made, and from which on.
type changes struct{ from, rounds, each int }

// changeEach moves the last endpoint of one Service after the other to another address, and waits each time until the
// kernel of c's node has it.
func (s size) changeEach(ctx context.Context, client kubernetes.Interface, c *companion, all changes) (following, error) {
	m, err := c.monitor()
	if err != nil {
		return nil, err
	}
	defer m.close()
	var f following
	for r := range all.rounds {
		round, err := s.changeRound(ctx, client, c, m, all.from+r*all.each, all.each)
		if err != nil {
			return nil, err
		}
		f = append(f, round)
	}
	return f, nil
}

func (s size) changeRound(ctx context.Context, client kubernetes.Interface, c *companion, m *monitor, from, count int) (*followed, error) {
	const metric, family = "kubeproxy_sync_partial_proxy_rules_duration_seconds", `{ip_family="IPv4"}`
	before, err := c.timing(metric, family)
	if err != nil {
		return nil, err
	}
	f := &followed{}
	for n := from; n < from+count; n++ {
		if err := s.changeOne(ctx, client, m, n, f); err != nil {
			return nil, fmt.Errorf("change %d: %w\n%s", n, err, c.process.LogEnd(20))
		}
	}
	after, err := c.timing(metric, family)
	if err != nil {
		return nil, err
	}
	f.apply = after.since(before)
	for _, l := range []latencies{f.write, f.kernel, f.behind} {
		slices.Sort(l)
	}
	return f, s.confirm(c, from, count)
}

// changed are the Service and the address of change n. Services with one port come one after the other.
func (s size) changed(n int) (service int, address netip.Addr) {
	return s.services - 1 - n*7%(s.services-s.ports/2), netip.AddrFrom4([4]byte{10, 200, byte(n >> 8), byte(n)})
}

// changeOne makes change n.
func (s size) changeOne(ctx context.Context, client kubernetes.Interface, m *monitor, n int, f *followed) error {
	i, address := s.changed(n)
	v := s.slice(i)
	v.ObjectMeta = meta.ObjectMeta{Name: v.Name, Namespace: v.Namespace, Labels: v.Labels}
	v.Endpoints[s.each-1].Addresses = []string{address.String()}
	m.expect(address)
	start := time.Now()
	if _, err := client.DiscoveryV1().EndpointSlices(v.Namespace).Update(ctx, v, meta.UpdateOptions{}); err != nil {
		return err
	}
	written := time.Now()
	f.write = append(f.write, written.Sub(start))
	select {
	case at := <-m.seen:
		f.kernel = append(f.kernel, at.Sub(start))
		f.behind = append(f.behind, max(0, at.Sub(written)))
		return nil
	case <-time.After(2 * time.Minute):
		return errors.New("the kernel was never told of it")
	}
}

// confirm connects through some of the changed Services until the new endpoint has answered, and looks that the old one never does.
func (s size) confirm(c *companion, from, count int) error {
	return c.client.Do(func() error {
		for n := from; n < from+count; n += max(1, count/20) {
			i, address := s.changed(n)
			found := false
			for range 300 { // each of ten endpoints has one chance in ten
				who, err := talk(netip.AddrPortFrom(clusterIP(i), 80), time.Second)
				if err != nil {
					return fmt.Errorf("connect to Service %d after its change: %w", i, err)
				}
				if who == s.pod(i, s.each-1) {
					return fmt.Errorf("Service %d still leads to %s", i, who)
				}
				found = found || who == address
			}
			if !found {
				return fmt.Errorf("Service %d does not lead to %s", i, address)
			}
		}
		return nil
	})
}
