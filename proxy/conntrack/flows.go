// Package conntrack keeps the kernel's table of flows in agreement with the routes: a flow that leads to an endpoint or a
// Service that is gone is removed, so that its next packet is routed anew; a flow that agrees is never touched. Without
// this, a client that goes on sending UDP datagrams from one port would go on sending them nowhere.
package conntrack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
	"github.com/waypost/waypost/proxy/nfnetlink"
)

// Flows is the kernel's table of flows, and what it ought to be. Sync and Apply say what that is, once the routes are in the
// kernel: what it routes after that agrees. Run looks for what does not.
type Flows struct {
	conn  *nfnetlink.Conn
	links *netlink.Handle // for the node's own addresses

	mu      sync.Mutex
	late    *late
	unsure  bool // what late has is not known to be what it ought to have
	desired desired
	looks   [realms]int // how often Run is to look
	asked   [realms]int // how often somebody has asked it to
	hurried bool        // since the last look began, it was asked to look at UDP
	urgent  bool        // and a DNS server got to be left: its flows have to leave it before it has ended
	wake    chan struct{}
}

// realm is a part of the table that can be looked at alone. For each, the kernel walks over all of the table, which takes
// milliseconds however few flows there are.
type realm int

const (
	udp4 realm = iota
	udp6
	tcp4
	tcp6
	realms
)

// realmOf is where the flows of a route are.
func realmOf(r *proxy.Route) realm {
	in := udp4
	if r.Protocol == cluster.TCP {
		in = tcp4
	}
	if !r.Address.Is4() {
		in++
	}
	return in
}

func (r realm) protocol() cluster.Protocol {
	if r < tcp4 {
		return cluster.UDP
	}
	return cluster.TCP
}

// families are what passes are reported of.
var families = [...]struct {
	name   string
	number uint8
	realms [2]realm
}{{"IPv4", unix.AF_INET, [2]realm{udp4, tcp4}}, {"IPv6", unix.AF_INET6, [2]realm{udp6, tcp6}}}

// everywhere are all realms.
var everywhere = [realms]bool{true, true, true, true}

// looksPerChange is how often Run looks after a change. A packet that was under way while the routes changed may leave a
// flow behind that the first look is too early for.
const looksPerChange = 2

// Pass is one look at the flows of a family, or at those only that changes may have made contradict.
type Pass struct {
	Family  string // "IPv4" or "IPv6"
	Removed int    // how many flows contradicted
	Took    time.Duration
	Err     error // nil, or why the look has to be taken again
}

// Open opens the table of the network namespace of the thread that calls it.
func Open() (*Flows, error) {
	conn, err := nfnetlink.Dial(nfnetlink.Options{ReceiveBuffer: 4 << 20})
	if err != nil {
		return nil, fmt.Errorf("open conntrack: %w", err)
	}
	links, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open conntrack: %w", err), conn.Close())
	}
	late, err := newLate()
	if err != nil {
		links.Close()
		return nil, errors.Join(fmt.Errorf("open conntrack: %w", err), conn.Close())
	}
	return &Flows{conn: conn, links: links, late: late, wake: make(chan struct{}, 1), desired: desired{
		routes: map[proxy.Frontend]*proxy.Route{}, gone: map[proxy.Frontend]*proxy.Route{},
	}}, nil
}

// Load has the kernel load what tracks flows, where that is a module that nothing has needed yet: before, there are no Sysctls to
// set.
func Load() error {
	conn, err := nfnetlink.Dial(nfnetlink.Options{})
	if err != nil {
		return fmt.Errorf("load conntrack: %w", err)
	}
	var b nfnetlink.Buffer
	b.Begin(messageStats, nfnetlink.Acknowledge, unix.AF_UNSPEC)
	b.End()
	if err = conn.Ask(&b, func(nfnetlink.Message) error { return nil }); err != nil {
		err = fmt.Errorf("load conntrack: %w", err)
	}
	return errors.Join(err, conn.Close())
}

// Close ends the connection to the kernel, after Run.
func (f *Flows) Close() error {
	f.links.Close()
	return errors.Join(f.late.close(), f.conn.Close())
}

// Sync says all that is wanted. Installed are the routes that the kernel had before, as proxy.Kernel's Read tells them at a
// start: flows of those that ended meanwhile can be told by them. It is nil later on.
func (f *Flows) Sync(installed []*proxy.Route, w *proxy.Wanted) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.desired.expect(nil)
	before := f.desired.routes
	f.desired.node = w.Node
	f.desired.routes = make(map[proxy.Frontend]*proxy.Route, len(w.Routes))
	for _, r := range w.Routes {
		if concerns(r.Protocol) {
			f.desired.routes[r.Frontend] = r
			delete(f.desired.gone, r.Frontend)
		}
	}
	for _, r := range installed {
		f.end(r)
	}
	for _, r := range before {
		f.end(r)
	}
	f.translateAll(installed, before)
	for r := range realms {
		f.look(r)
	}
}

// translateAll has late answers translated of servers that were left since routes were as they were before, or as a former
// process installed them.
func (f *Flows) translateAll(installed []*proxy.Route, before map[proxy.Frontend]*proxy.Route) {
	old := map[proxy.Frontend]*proxy.Route{}
	for _, r := range installed {
		old[r.Frontend] = r
	}
	maps.Copy(old, before)
	var changes []proxy.RouteChange
	for frontend, r := range old {
		if isDNS(r) {
			changes = append(changes, proxy.RouteChange{Old: r, New: f.desired.routes[frontend]})
		}
	}
	f.translate(changes)
}

// translate has late answers translated of servers that changes leave. Where that fails, settle tries again, and reports.
func (f *Flows) translate(changes []proxy.RouteChange) {
	now := time.Now()
	if f.late.note(changes, now) && !f.unsure {
		f.unsure = f.late.write(now) != nil
	}
}

// end notes that there was a route, if there is none any more.
func (f *Flows) end(r *proxy.Route) {
	if concerns(r.Protocol) && f.desired.routes[r.Frontend] == nil {
		f.desired.gone[r.Frontend] = r
	}
}

// Expect says what Apply or Sync will, before the kernel has it: a look that is under way meanwhile leaves flows alone that it
// leads there.
func (f *Flows) Expect(c *proxy.Changes) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.desired.expect(c.Routes)
}

// Apply says what differs from what was wanted before. It costs little: Run does the work.
func (f *Flows) Apply(c *proxy.Changes) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.desired.expect(nil)
	if c.Node != nil {
		f.desired.node = *c.Node
	}
	f.translate(c.Routes)
	if f.unsure { // Run tries again
		f.look(udp4)
	}
	for _, r := range c.Routes {
		if f.desired.change(r) {
			f.look(realmOf(cmp.Or(r.New, r.Old)))
		}
		f.urgent = f.urgent || leavesDNS(r)
	}
}

// look has Run look at a realm.
func (f *Flows) look(r realm) {
	f.looks[r] = looksPerChange
	f.asked[r]++
	f.hurried = f.hurried || r.protocol() == cluster.UDP
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// A look follows a change of UDP routes by a tenth of a second at most, one of TCP routes by half a second, as a client waits
// for a second before it tries again to connect (RFC 6298 section 2), and the second look by a second. But in the long run,
// looks take a tenth of one processor, however many flows there are and however fast the cluster changes; credit is how far
// they may be ahead, and urgentCredit where a DNS server is left, which rarely happens: that look is early whatever the last
// ones took.
const (
	forUDP       = 100 * time.Millisecond
	forTCP       = 500 * time.Millisecond
	second       = time.Second
	longest      = 30 * time.Second // between looks that fail
	share        = 10
	credit       = 3 * time.Second
	urgentCredit = time.Minute
)

// Run looks at the flows after changes that may contradict them, and removes those that do, until ctx ends. It calls report
// after each pass.
func (f *Flows) Run(ctx context.Context, report func(Pass)) {
	runtime.LockOSThread() // whose processor time counts
	defer runtime.UnlockOSThread()
	var settled time.Time // when looks will have taken their share
	least := second       // between looks, which doubles while they fail
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		}
		for {
			due, some := f.due()
			if !some {
				break
			}
			if now := time.Now(); settled.Before(now) {
				settled = now
			}
			before := processorTime()
			if f.reconcile(due, report) {
				least = second
			} else {
				least = min(2*least, longest)
			}
			settled = settled.Add(share * (processorTime() - before))
			if !f.rest(ctx, least, time.Until(settled)) {
				return
			}
		}
	}
}

// processorTime is what the calling thread has used.
func processorTime() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) // which every thread has
	return time.Duration(t.Nano())
}

// rest waits for least, and until looks are ahead of their share by no more than their credit; false where ctx ends before. A
// change makes it shorter.
func (f *Flows) rest(ctx context.Context, least, ahead time.Duration) bool {
	begun := time.Now()
	_, credit := f.pressure()
	pause := max(least, ahead-credit)
	for {
		select {
		case <-f.wake: // a change cannot wait for the second look after the one before
			apart, credit := f.pressure()
			pause = min(pause, max(apart, ahead-credit))
		case <-time.After(pause - time.Since(begun)):
			return ctx.Err() == nil
		case <-ctx.Done():
			return false
		}
	}
}

// pressure says how long looks are apart at least, and how far they may be ahead of their share, after what changed since the
// last one began.
func (f *Flows) pressure() (apart, ahead time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	apart, ahead = forTCP, credit
	if f.hurried {
		apart = forUDP
	}
	if f.urgent {
		ahead = urgentCredit
	}
	return apart, ahead
}

// due says where Run is to look, and whether it is to look anywhere.
func (f *Flows) due() (where [realms]bool, some bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for r, looks := range f.looks {
		where[r] = looks > 0
		some = some || where[r]
	}
	return where, some
}

// Reconcile looks at all flows once: it is for those who cannot wait for Run.
func (f *Flows) Reconcile(report func(Pass)) { _ = f.reconcile(everywhere, report) }

// reconcile looks at the flows of some realms, and reports whether it could.
func (f *Flows) reconcile(where [realms]bool, report func(Pass)) bool {
	f.mu.Lock()
	asked, hurried, urgent := f.asked, f.hurried, f.urgent
	f.hurried, f.urgent = false, false
	unsettled := f.settle()
	gone := make(map[proxy.Frontend]*proxy.Route, len(f.desired.gone))
	for frontend, r := range f.desired.gone {
		gone[frontend] = r
	}
	f.mu.Unlock()

	failed := unsettled != nil
	for _, family := range families {
		var protocols []cluster.Protocol
		for _, r := range family.realms {
			if where[r] {
				protocols = append(protocols, r.protocol())
			}
		}
		if len(protocols) == 0 {
			continue
		}
		start := time.Now()
		removed, err := f.pass(family.number, protocols)
		failed = failed || err != nil
		report(Pass{Family: family.name, Removed: removed, Took: time.Since(start), Err: errors.Join(unsettled, err)})
	}
	if !failed {
		f.looked(where, asked, gone)
		return true
	}
	f.mu.Lock()
	f.hurried, f.urgent = f.hurried || hurried, f.urgent || urgent
	f.mu.Unlock()
	return false
}

// settle tries again to have late answers translated, if that failed.
func (f *Flows) settle() error {
	if !f.unsure {
		return nil
	}
	err := f.late.write(time.Now())
	f.unsure = err != nil
	return err
}

// looked notes that a look at some realms succeeded that began when it had been asked for so often, and these routes had ended.
func (f *Flows) looked(where [realms]bool, asked [realms]int, gone map[proxy.Frontend]*proxy.Route) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var done [realms]bool
	for r := range realms {
		if where[r] && f.asked[r] == asked[r] {
			f.looks[r] = max(0, f.looks[r]-1)
			done[r] = f.looks[r] == 0
		}
	}
	for frontend, r := range gone {
		if done[realmOf(r)] && f.desired.gone[frontend] == r {
			delete(f.desired.gone, frontend)
		}
	}
}

// pass removes the flows of a family and some protocols that contradict.
func (f *Flows) pass(family uint8, protocols []cluster.Protocol) (removed int, err error) {
	local, err := f.local(family)
	if err != nil {
		return 0, err
	}
	isLocal := func(a netip.Addr) bool {
		_, ok := local[a]
		return ok
	}
	var names [][]byte
	for _, p := range protocols {
		err := f.dump(family, p, func(body []byte) {
			flow, ok := parseFlow(body)
			if ok && flow.protocol == p && f.contradicts(&flow, isLocal) {
				names = append(names, nameOf(body))
			}
		})
		if err != nil {
			return 0, err
		}
	}
	return f.remove(family, names)
}

func (f *Flows) contradicts(flow *flow, isLocal func(netip.Addr) bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.desired.contradicts(flow, isLocal)
}

// local are the node's own addresses.
func (f *Flows) local(family uint8) (map[netip.Addr]struct{}, error) {
	list, err := f.links.AddrList(nil, int(family))
	if err != nil {
		return nil, fmt.Errorf("list the node's addresses: %w", err)
	}
	local := make(map[netip.Addr]struct{}, len(list))
	for _, a := range list {
		if address, ok := netip.AddrFromSlice(a.IP); ok {
			local[address.Unmap()] = struct{}{}
		}
	}
	return local, nil
}

// dump has the kernel tell of the flows of a protocol; of TCP, those only that nobody has answered.
func (f *Flows) dump(family uint8, p cluster.Protocol, each func(body []byte)) error {
	var b nfnetlink.Buffer
	b.Begin(messageGet, nfnetlink.Dump, family)
	outer := b.Nest(ctaTupleOrig)
	inner := b.Nest(ctaTupleProto)
	b.Value(ctaProtoNum, []byte{byte(p)})
	b.Close(inner)
	b.Close(outer)
	outer = b.Nest(ctaFilter)
	b.Native32(filterOriginal, filterProto)
	b.Close(outer)
	if p == cluster.TCP {
		b.Uint32(ctaStatus, 0)
		b.Uint32(ctaStatusMask, seenReply)
	}
	b.End()
	err := f.conn.Ask(&b, func(m nfnetlink.Message) error {
		each(m.Body)
		return nil
	})
	if err != nil && !errors.Is(err, nfnetlink.ErrInterrupted) {
		return fmt.Errorf("list %s flows: %w", p, err)
	}
	return nil
}

// atOnce is how many flows are removed with one request.
const atOnce = 100

// remove deletes flows. One that has ended meanwhile does not count.
func (f *Flows) remove(family uint8, names [][]byte) (removed int, err error) {
	for len(names) > 0 {
		n := min(len(names), atOnce)
		var b nfnetlink.Buffer
		for _, name := range names[:n] {
			b.Begin(messageDelete, 0, family)
			b.Raw(name)
			b.End()
		}
		b.Flag(nfnetlink.Acknowledge)
		removed += n
		failed := f.conn.ExecuteEach(&b, func(e *nfnetlink.Error) {
			removed--
			if e.Errno != unix.ENOENT && err == nil {
				err = e
			}
		})
		if err = errors.Join(err, failed); err != nil {
			return removed, fmt.Errorf("remove flows: %w", err)
		}
		names = names[n:]
	}
	return removed, nil
}
