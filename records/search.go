package records

import "github.com/waypost/waypost/message"

// SearchPath returns the zones in which a Pod looks for names that it leaves unfinished: NAMESPACE.svc.ZONE, svc.ZONE and
// ZONE, as the kubelet writes them into its resolv.conf. It is nil unless the question's name is at or below the first,
// and comes from a Pod of that namespace, which only verified Pods can tell. Of Pods that share an address, as those in
// the network of their host do, any one will do.
func (z *Zone) SearchPath(q *message.Query) []message.Name {
	zone := z.plan.match(q)
	if z.plan.Pods != PodsVerified || zone == nil {
		return nil
	}
	k := q.Labels() - zone.labels
	if k < 2 || string(q.Label(k-1)) != "svc" {
		return nil
	}
	namespace := q.Lower()[q.Start(k-2):q.Start(k-1)]
	for _, ref := range z.pods.get(q.From.Addr().Unmap()) {
		if ref.id.key == string(namespace) {
			return []message.Name{message.Name(q.Suffix(k - 2)), message.Name(q.Suffix(k - 1)), zone.name}
		}
	}
	return nil
}
