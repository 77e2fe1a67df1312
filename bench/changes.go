package bench

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/waypost/waypost/e2e/ask"
)

// change moves the last endpoint of a headless Service to another address, and is seen when a server answers with that.
type change struct {
	service int
	address netip.Addr
}

// changing is how fast changes come, and for how long.
const (
	changesPerSecond = 200
	changingFor      = 30 * time.Second
	patience         = 10 * time.Second // until a change counts as lost
)

// latencies are how long things took, sorted: changes from the start of their write, queries until their answer.
type latencies []time.Duration

func (l latencies) at(quantile float64) time.Duration {
	if len(l) == 0 {
		return 0
	}
	return l[min(len(l)-1, int(quantile*float64(len(l))))]
}

// propagation is what came of the changes.
type propagation struct {
	write  latencies            // until the API server had answered
	answer map[string]latencies // until a server's answer had changed, by the server's name
	lost   map[string]int       // changes that a server never showed
}

// changeAll makes changes at a steady pace and watches the answers of all servers at once.
func changeAll(ctx context.Context, client kubernetes.Interface, servers map[string]netip.AddrPort) (*propagation, error) {
	p := &propagation{answer: map[string]latencies{}, lost: map[string]int{}}
	var mu sync.Mutex
	var group sync.WaitGroup
	var failed error
	pace := time.NewTicker(time.Second / changesPerSecond)
	defer pace.Stop()
	for n := range changesPerSecond * int(changingFor/time.Second) {
		c := change{service: n * 10 % services, address: netip.AddrFrom4([4]byte{10, 200, byte(n >> 8), byte(n)})}
		<-pace.C
		start := time.Now()
		group.Go(func() {
			err := c.write(ctx, client)
			took := time.Since(start)
			mu.Lock()
			defer mu.Unlock()
			p.write = append(p.write, took)
			if err != nil {
				failed = fmt.Errorf("change the slice of %s: %w", fqdn(c.service), err)
			}
		})
		for name, server := range servers {
			group.Go(func() {
				seen := c.await(server)
				took := time.Since(start)
				mu.Lock()
				defer mu.Unlock()
				if !seen {
					p.lost[name]++
					return
				}
				p.answer[name] = append(p.answer[name], took)
			})
		}
	}
	group.Wait()
	slices.Sort(p.write)
	for _, l := range p.answer {
		slices.Sort(l)
	}
	return p, failed
}

func (c change) write(ctx context.Context, client kubernetes.Interface) error {
	s := slice(c.service)
	s.Endpoints[endpoints-1].Addresses = []string{c.address.String()}
	_, err := client.DiscoveryV1().EndpointSlices(s.Namespace).Update(ctx, s, meta.UpdateOptions{})
	return err
}

// await asks until the new address is answered: every millisecond at first, and then each twentieth of the time that it has
// taken. More often, the questions about late changes would make the later ones late.
func (c change) await(server netip.AddrPort) bool {
	conn, err := ask.Dial(server)
	if err != nil {
		return false
	}
	defer conn.Close()
	question, err := new(dns.Msg).SetQuestion(fqdn(c.service), dns.TypeA).Pack()
	if err != nil {
		return false
	}
	start := time.Now()
	for waited := time.Duration(0); waited < patience; waited = time.Since(start) {
		if has(conn, question, c.address) {
			return true
		}
		time.Sleep(max(time.Millisecond, waited/20))
	}
	return false
}

// has reports whether the answer to a question holds an address.
func has(conn *ask.Conn, question []byte, address netip.Addr) bool {
	reply, err := conn.UDP(question)
	if err != nil {
		return false
	}
	var m dns.Msg
	if m.Unpack(reply) != nil {
		return false
	}
	return slices.ContainsFunc(m.Answer, func(rr dns.RR) bool {
		a, ok := rr.(*dns.A)
		return ok && a.A.String() == address.String()
	})
}

// restore writes the slices that were changed as they were at first.
func restore(ctx context.Context, client kubernetes.Interface) error {
	for i := 0; i < services; i += 10 {
		s := slice(i)
		if _, err := client.DiscoveryV1().EndpointSlices(s.Namespace).Update(ctx, s, meta.UpdateOptions{}); err != nil {
			return fmt.Errorf("restore the slice of %s: %w", fqdn(i), err)
		}
	}
	return nil
}
