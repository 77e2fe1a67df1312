package route

import (
	"errors"
	"fmt"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
	"github.com/waypost/waypost/proxy/conntrack"
	"github.com/waypost/waypost/proxy/nftables"
	"github.com/waypost/waypost/proxy/plan"
)

// Router is the companion of a node: a plan, and the kernel that does what it wants.
type Router struct {
	Space  *Space
	Plan   *plan.Plan
	Kernel *nftables.Tables
	Flows  *conntrack.Flows

	installed []*proxy.Route // what the kernel had at the beginning
	objects   map[kindKey]cluster.Object
	synced    bool
}

type kindKey struct {
	kind cluster.Kind
	key  cluster.Key
}

// NewRouter begins with a plan of an empty cluster, and with what the node's kernel has.
func NewRouter(s *Space, o plan.Options) (*Router, error) {
	r := &Router{Space: s, objects: map[kindKey]cluster.Object{}}
	err := s.Do(func() (err error) {
		if err = conntrack.Load(); err != nil {
			return err
		}
		if r.Kernel, err = nftables.Open(nftables.Options{}); err != nil {
			return err
		}
		r.Flows, err = conntrack.Open()
		return err
	})
	if err != nil {
		return nil, err
	}
	r.installed, err = r.Kernel.Read()
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	o.NodeName, o.Installed = s.Name, r.installed
	r.Plan = plan.New(o)
	for _, k := range []cluster.Kind{cluster.KindService, cluster.KindSlice, cluster.KindNode} {
		r.Plan.Synced(k)
	}
	return r, nil
}

// Close leaves the routes as they are.
func (r *Router) Close() error { return errors.Join(r.Kernel.Close(), r.Flows.Close()) }

// Set makes the cluster have objects, in place of those with their names, and the kernel route so.
func (r *Router) Set(objects ...cluster.Object) error {
	var changes []cluster.Change
	for _, o := range objects {
		k := kindKey{o.Kind(), o.Key()}
		changes = append(changes, cluster.Change{Old: r.objects[k], New: o})
		r.objects[k] = o
	}
	return r.apply(changes)
}

// Delete takes objects out of the cluster.
func (r *Router) Delete(objects ...cluster.Object) error {
	var changes []cluster.Change
	for _, o := range objects {
		k := kindKey{o.Kind(), o.Key()}
		changes = append(changes, cluster.Change{Old: r.objects[k]})
		delete(r.objects, k)
	}
	return r.apply(changes)
}

func (r *Router) apply(changes []cluster.Change) error {
	r.Plan.Apply(changes)
	c := r.Plan.Take()
	if !r.synced {
		r.synced = true
		w := r.Plan.Wanted()
		if err := r.Kernel.Sync(w); err != nil {
			return err
		}
		r.Flows.Sync(r.installed, w)
		return nil
	}
	if err := r.Kernel.Apply(c); err != nil {
		return fmt.Errorf("apply %d changed routes: %w", len(c.Routes), err)
	}
	r.Flows.Apply(c)
	return nil
}

// Reconcile removes the flows that contradict, and returns how many there were.
func (r *Router) Reconcile() (removed int, err error) {
	r.Flows.Reconcile(func(p conntrack.Pass) {
		removed += p.Removed
		err = errors.Join(err, p.Err)
	})
	return removed, err
}

// Installed is what the kernel has, by frontend.
func (r *Router) Installed() (map[proxy.Frontend]*proxy.Route, error) {
	routes, err := r.Kernel.Read()
	if err != nil {
		return nil, err
	}
	byFrontend := map[proxy.Frontend]*proxy.Route{}
	for _, route := range routes {
		byFrontend[route.Frontend] = route
	}
	return byFrontend, nil
}
