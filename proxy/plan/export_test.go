package plan

// Sizes says how much a plan remembers, by what: nothing of an empty cluster.
func (p *Plan) Sizes() map[string]int {
	return map[string]int{
		"services": len(p.services), "claims": len(p.claims), "rivals": len(p.rivals), "externals": len(p.externals),
		"ClusterIPs": len(p.clusterIPs.counts), "hairpins": len(p.hairpins.counts), "addresses": len(p.nodes.addresses),
		"nodes": len(p.nodes.byName), "ranges": len(p.ranges), "endpoints": p.stats.Endpoints,
	}
}
