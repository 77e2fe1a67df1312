package records

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waypost/waypost/cluster"
)

// Store builds the zone: it takes changes and publishes a new Zone after each batch. One batch costs what it changes,
// whatever the size of the cluster.
type Store struct {
	current atomic.Pointer[Zone]

	mu   sync.Mutex // held by writers
	next Zone       // the zone that the next batch starts from
}

// Zone is the zone at one moment. It never changes.
type Zone struct {
	plan       *plan
	generation uint64 // of the nodes that are not shared with an earlier Zone
	services   trie[*entry]
	imports    trie[*entry]
	namespaces trie[*ident]
	reverse    addresses // what reverse names exist
	pods       addresses // what verified Pod names exist
	local      addresses // the Services with endpoints at the server's own addresses
	serial     uint32    // Unix seconds of the last change that DNS can see; 0 before any
	mcSerial   uint32    // the same of the multicluster zones
	synced     bool
}

// NewStore returns a Store whose Zone is empty and not yet synced.
func NewStore(c Config) *Store {
	s := &Store{next: Zone{plan: newPlan(c), generation: 1}}
	s.publish()
	return s
}

// Zone is the latest zone. It is cheap and can be called for each query.
func (s *Store) Zone() *Zone { return s.current.Load() }

// Synced says that the first full state of the cluster has been applied: from now on, what is not there does not exist.
func (s *Store) Synced() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next.synced = true
	s.publish()
}

// Apply takes changes in the order they happened and publishes the zone that they lead to. The time goes into the SOA
// serial. It returns an error for each change that could not be applied, which is a defect of this package: the zone is
// then as without that change.
func (s *Store) Apply(changes []cluster.Change, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.apply(changes, now)
	if err == nil || len(changes) == 1 {
		return err
	}
	var failed []error
	for i := range changes {
		failed = append(failed, s.apply(changes[i:i+1], now))
	}
	return errors.Join(failed...)
}

// apply applies all of the changes or, where that panics, none of them.
func (s *Store) apply(changes []cluster.Change, now time.Time) (err error) {
	defer func() {
		if v := recover(); v != nil {
			s.next = *s.current.Load()
			s.next.generation += 2 // the one in between has been used up
			o := changes[0].Object()
			err = fmt.Errorf("apply %d changes, the first of %s %s: %v\n%s", len(changes), o.Kind(), o.Key(), v, debug.Stack())
		}
	}()
	w := writer{zone: &s.next, dirty: make(map[dirtyKey]*entry)}
	for _, c := range changes {
		w.apply(c, uint32(now.Unix()))
	}
	w.flush()
	s.publish()
	return nil
}

// publish makes the zone visible and starts a new generation, so that what readers see is not touched again.
func (s *Store) publish() {
	z := s.next
	s.current.Store(&z)
	s.next.generation++
}

// writer applies one batch. Entries are compiled once, at its end, however often the batch changed them.
type writer struct {
	zone  *Zone
	dirty map[dirtyKey]*entry // entries being changed, not yet compiled
}

type dirtyKey struct {
	imported bool
	key      string
}

func (w *writer) apply(c cluster.Change, now uint32) {
	z := w.zone
	switch o := c.Object().(type) {
	case *cluster.Namespace:
		w.namespace(o, c.New != nil)
	case *cluster.Service:
		z.serial = now
		w.service(as[cluster.Service](c.Old), as[cluster.Service](c.New))
	case *cluster.Slice:
		old, new := as[cluster.Slice](c.Old), as[cluster.Slice](c.New)
		if o.Multicluster == "" {
			z.serial = now
		} else if old != nil && new != nil {
			z.mcSerial = now
		}
		w.slice(old, new)
	case *cluster.Import:
		if c.Old != nil && c.New != nil { // as CoreDNS: adding and removing one does not count
			z.mcSerial = now
		}
		w.serviceImport(as[cluster.Import](c.Old), as[cluster.Import](c.New))
	case *cluster.Pod:
		z.serial = now
		w.pod(as[cluster.Pod](c.Old), as[cluster.Pod](c.New))
	}
}

// as is the object of a change as its own type, nil where there is none.
func as[T any, P interface {
	*T
	cluster.Object
}](o cluster.Object) P {
	p, _ := o.(P)
	return p
}

func (w *writer) namespace(n *cluster.Namespace, exists bool) {
	if !validLabel(n.Name) {
		return
	}
	if key := wireLabel(n.Name); exists {
		w.zone.namespaces.set(w.zone.generation, makeIdent(key, ""))
	} else {
		w.zone.namespaces.delete(w.zone.generation, key)
	}
}

func (w *writer) service(old, new *cluster.Service) {
	if old != nil && (new == nil || old.Key() != new.Key()) {
		if e := w.edit(false, old.Namespace, old.Name); e != nil {
			e.service = nil
		}
	}
	if new != nil {
		if e := w.edit(false, new.Namespace, new.Name); e != nil {
			e.service = new
		}
	}
	w.reverseService(old, new)
}

func (w *writer) serviceImport(old, new *cluster.Import) {
	o := cmp.Or(new, old)
	if e := w.edit(true, o.Namespace, o.Name); e != nil {
		e.imported = new
	}
}

func (w *writer) slice(old, new *cluster.Slice) {
	if old != nil {
		w.editSlice(old, nil)
	}
	if new != nil {
		w.editSlice(new, new)
	}
	w.reverseSlice(old, new)
}

// editSlice puts a slice into its entry, or takes it out where put is nil.
func (w *writer) editSlice(s, put *cluster.Slice) {
	service := s.Service
	if s.Multicluster != "" {
		service = s.Multicluster
	}
	e := w.edit(s.Multicluster != "", s.Namespace, service)
	if e == nil {
		return
	}
	i, found := slices.BinarySearchFunc(e.slices, s.Name, func(t *cluster.Slice, name string) int { return cmp.Compare(t.Name, name) })
	switch {
	case found && put != nil:
		e.slices[i] = put
	case found:
		e.slices = slices.Delete(e.slices, i, i+1)
	case put != nil:
		e.slices = slices.Insert(e.slices, i, put)
	}
}

// edit returns an entry to change, nil for names that fit no label.
func (w *writer) edit(imported bool, namespace, name string) *entry {
	id := newIdent(namespace, name)
	if id == nil {
		return nil
	}
	key := dirtyKey{imported, id.key}
	if e := w.dirty[key]; e != nil {
		return e
	}
	e := &entry{key: id.key, id: id}
	if old := w.table(imported).get([]byte(id.key)); old != nil {
		*e = entry{key: old.id.key, id: old.id, service: old.service, imported: old.imported, slices: slices.Clone(old.slices)}
	}
	w.dirty[key] = e
	return e
}

func (w *writer) table(imported bool) *trie[*entry] {
	if imported {
		return &w.zone.imports
	}
	return &w.zone.services
}

// flush compiles what was changed and puts it into the zone.
func (w *writer) flush() {
	for key, e := range w.dirty {
		if e.service == nil && e.imported == nil && len(e.slices) == 0 {
			w.table(key.imported).delete(w.zone.generation, key.key)
			continue
		}
		e.compile(w.zone.plan)
		w.table(key.imported).set(w.zone.generation, e)
	}
}

// ref is one reason why a reverse name or a verified Pod name exists.
type ref struct {
	kind refKind
	id   *ident // the Service, or for a Pod its namespace alone
	host string // of an endpoint: its hostname or Pod name; "" is named after the address
}

type refKind uint8

const (
	serviceRef  refKind = iota // the address is a ClusterIP of the Service
	endpointRef                // a slice of the Service has a ready endpoint there
	podRef                     // a Pod of the namespace has the address
	refKinds                   // how many there are
)

// same reports whether two refs say the same.
func (r *ref) same(s *ref) bool {
	return r == s || r.kind == s.kind && r.host == s.host && r.id.key == s.id.key
}

// reverseService moves the ClusterIPs of a Service from what they were to what they are.
func (w *writer) reverseService(old, new *cluster.Service) {
	if old != nil && new != nil && old.Key() == new.Key() && slices.Equal(old.ClusterIPs, new.ClusterIPs) {
		return
	}
	w.serviceRefs(old, drop)
	w.serviceRefs(new, add)
}

func (w *writer) serviceRefs(s *cluster.Service, change func([]*ref, *ref) []*ref) {
	if s == nil || !w.zone.plan.named(s.Namespace) {
		return
	}
	if e := w.edit(false, s.Namespace, s.Name); e != nil {
		for _, ip := range s.ClusterIPs {
			w.refer(&w.zone.reverse, ip, change, e.id.ref(serviceRef, ""))
		}
	}
}

// reverseSlice moves the ready endpoints of a slice. Slices without a Service name nothing; those of ServiceImports have
// no reverse names.
func (w *writer) reverseSlice(old, new *cluster.Slice) {
	before, after := w.named(old), w.named(new)
	if old != nil && new != nil && old.Service == new.Service {
		for end, n := range before {
			common := min(n, after[end])
			before[end] -= common
			after[end] -= common
		}
	}
	w.endpointRefs(old, before, drop)
	w.endpointRefs(new, after, add)
}

// namedEndpoint is what names an endpoint: its address, and the label that it has of its own.
type namedEndpoint struct {
	addr netip.Addr
	host string
}

// named counts the ready endpoints of a slice that have reverse names.
func (w *writer) named(s *cluster.Slice) map[namedEndpoint]int {
	if s == nil || s.Service == "" || s.FQDNs != nil {
		return nil
	}
	found := make(map[namedEndpoint]int, len(s.Endpoints))
	for i := range s.Endpoints {
		if end := &s.Endpoints[i]; end.Ready() {
			found[namedEndpoint{end.Address, ownLabel(end, w.zone.plan.PodNames)}]++
		}
	}
	return found
}

// endpointRefs changes the refs of endpoints of a slice.
func (w *writer) endpointRefs(s *cluster.Slice, found map[namedEndpoint]int, change func([]*ref, *ref) []*ref) {
	if len(found) == 0 {
		return
	}
	e := w.edit(false, s.Namespace, s.Service)
	if e == nil {
		return
	}
	for end, n := range found {
		for range n {
			r := e.id.ref(endpointRef, end.host)
			if w.zone.plan.named(s.Namespace) {
				w.refer(&w.zone.reverse, end.addr, change, r)
			}
			if slices.Contains(w.zone.plan.LocalIPs, end.addr) {
				w.refer(&w.zone.local, end.addr, change, r)
			}
		}
	}
}

// ownLabel is the label that an endpoint has of its own, "" where it is named after its address.
func ownLabel(e *cluster.Endpoint, podNames bool) string {
	if e.Hostname == "" && podNames && validLabel(e.Pod) {
		return e.Pod
	}
	return e.Hostname
}

func (w *writer) pod(old, new *cluster.Pod) {
	for _, c := range []struct {
		pod    *cluster.Pod
		change func([]*ref, *ref) []*ref
	}{{old, drop}, {new, add}} {
		if c.pod == nil || !validLabel(c.pod.Namespace) {
			continue
		}
		for _, ip := range c.pod.IPs {
			w.refer(&w.zone.pods, ip, c.change, w.namespaceIdent(c.pod.Namespace).ref(podRef, ""))
		}
	}
}

// namespaceIdent names a namespace in a Pod's ref, shared where the namespace is known already.
func (w *writer) namespaceIdent(name string) *ident {
	key := wireLabel(name)
	if id := w.zone.namespaces.get([]byte(key)); id != nil {
		return id
	}
	return makeIdent(key, "")
}

func (w *writer) refer(tree *addresses, ip netip.Addr, change func([]*ref, *ref) []*ref, r *ref) {
	tree.update(w.zone.generation, ip.Unmap(), func(refs []*ref) []*ref { return change(refs, r) })
}

// add and drop return a changed copy. A ref is there as often as something says so.
func add(refs []*ref, r *ref) []*ref { return append(slices.Clip(refs), r) }

func drop(refs []*ref, r *ref) []*ref {
	i := slices.IndexFunc(refs, r.same)
	if i < 0 {
		return refs
	}
	return slices.Delete(slices.Clone(refs), i, i+1)
}

// Service is the Service of that name, nil where there is none.
func (z *Zone) Service(namespace, name string) *cluster.Service {
	id := newIdent(namespace, name)
	if id == nil {
		return nil
	}
	if e := z.services.get([]byte(id.key)); e != nil {
		return e.service
	}
	return nil
}
