package nftables

import "github.com/waypost/waypost/proxy"

// Sync implements proxy.Kernel. It reads what there is once and changes what differs, in pieces, in this order: the rules
// (from then on, unknown addresses of the Services' ranges are dropped), the routes one by one as they are wanted, and
// the ClusterIPs last, as their other ports are rejected. Connections that exist are not touched by any of it.
func (t *Tables) Sync(w *proxy.Wanted) error {
	t.synced = false
	expected, err := t.syncOnce(w)
	if err != nil {
		return err
	}
	if t.audience.begin() {
		// Whatever was changed before anybody listened is seen here, or in what the kernel tells from now on.
		generation, err := t.generation()
		if err == nil && generation != expected {
			_, err = t.syncOnce(w)
		}
		if err != nil {
			return err
		}
	}
	t.synced = true
	return nil
}

// syncOnce returns the generation that nf_tables has if nobody else has changed anything since the kernel was read.
func (t *Tables) syncOnce(w *proxy.Wanted) (expected uint32, err error) {
	s, err := t.current()
	if err != nil {
		return 0, err
	}
	if err := t.sync(s, w); err != nil {
		return 0, err
	}
	expected = s.generation + t.tx.commits
	t.tx = t.tx.rested()
	return expected, nil
}

func (t *Tables) sync(s *snapshot, w *proxy.Wanted) error {
	t.tx = newTransaction(t.table, &t.families)
	t.node, t.retired = w.Node, nil
	for i := range t.families {
		if err := t.begin(familyIndex(i), s.found[i], w); err != nil {
			return err
		}
	}
	if err := t.tx.commit(t.conn); err != nil {
		return err
	}
	if err := t.routes(s, w); err != nil {
		return err
	}
	for i, k := range s.found {
		t.made[i].numbers.forget()
		t.rest(familyIndex(i), k, w)
	}
	return t.tx.commit(t.conn)
}

// begin writes the rules, into a new table where the old one cannot be kept.
func (t *Tables) begin(i familyIndex, k *found, w *proxy.Wanted) error {
	f := &t.families[i]
	t.made[i] = made{guards: map[string]int{}, numbers: t.made[i].numbers.again()}
	if k.foreign {
		t.tx.deleteTable(f, t.table)
		*k = found{}
	}
	for c := range class(classes) {
		if _, ok := k.sets[setName(upTo+setID(c))]; ok {
			t.made[i].classes[0] = c + 1
		}
		if _, ok := k.sets[setName(localUpTo+setID(c))]; ok {
			t.made[i].classes[1] = c + 1
		}
	}
	t.made[i].grow(i, func(yield func(*proxy.Route) bool) {
		for _, r := range w.Routes {
			if !yield(r) {
				return
			}
		}
	})
	t.tx.addTable(f)
	if err := t.writeRules(i); err != nil {
		return err
	}
	t.strangers(i, k)
	return nil
}

// strangers takes away sets that this program has not made. Chains follow at the end, when nothing leads to them.
func (t *Tables) strangers(i familyIndex, k *found) {
	f := &t.families[i]
	own := map[string]bool{}
	for id := range sets {
		own[setName(id)] = true
	}
	names := t.ownChains(i)
	for name := range k.chains {
		if !names[name] && !madeForRoutes(name) {
			t.tx.flush(f, name)
		}
	}
	for name, s := range k.sets {
		if !own[name] && !s.anonymous() {
			t.tx.deleteSet(f, name)
		}
	}
}

// ownChains are the names of the program's chains.
func (t *Tables) ownChains(i familyIndex) map[string]bool {
	p := program{family: &t.families[i], node: &t.node, mark: t.mark, classes: t.made[i].classes}
	names := map[string]bool{}
	for _, c := range p.write() {
		names[c.name] = true
	}
	return names
}

// routes makes what the kernel has of routes what is wanted.
func (t *Tables) routes(s *snapshot, w *proxy.Wanted) error {
	for _, r := range w.Routes {
		i := familyOf(r.Address)
		if r.Affinity > 0 {
			t.made[i].numbers.learn(r, s.found[i])
		}
	}
	for _, r := range w.Routes {
		k := s.found[familyOf(r.Address)]
		from := state{}
		if has := k.routes[r.Frontend]; has != nil {
			from = *has
			delete(k.routes, r.Frontend)
		}
		if err := t.route(proxy.RouteChange{New: r}, from); err != nil {
			return err
		}
	}
	for _, k := range s.found {
		for frontend, has := range k.routes {
			t.tx.move(frontend, has, &state{})
			if t.tx.large() {
				if err := t.tx.commit(t.conn); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// rest is everything that is no route.
func (t *Tables) rest(i familyIndex, k *found, w *proxy.Wanted) {
	for _, h := range w.Hairpins {
		if familyOf(h.Endpoint.Addr()) == i && !k.hairpins[h] {
			t.hairpin(h, false)
		}
		delete(k.hairpins, h)
	}
	for h := range k.hairpins {
		t.hairpin(h, true)
	}
	for _, a := range w.ClusterIPs {
		if familyOf(a) == i && !k.clusterIPs[a] {
			t.clusterIP(a, false)
		}
		delete(k.clusterIPs, a)
	}
	for a := range k.clusterIPs {
		t.clusterIP(a, true)
	}
	for o := range k.odd {
		t.tx.parts[i].remove(o.set, []byte(o.key))
	}
	t.retireUnused(i, k, w)
}

// retireUnused retires the chains that nothing leads to.
func (t *Tables) retireUnused(i familyIndex, k *found, w *proxy.Wanted) {
	used := t.ownChains(i)
	for name := range t.made[i].guards {
		used[name] = true
	}
	for _, r := range w.Routes {
		if r.Affinity > 0 && familyOf(r.Address) == i {
			s := stateOf(r)
			used[s.sticky.chain], used[s.localSticky.chain] = true, true
		}
	}
	for name := range k.chains {
		if !used[name] {
			t.retire(i, name)
		}
	}
}
