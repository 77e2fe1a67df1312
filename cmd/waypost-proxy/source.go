package main

import (
	"fmt"
	"strings"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy/health"
	"github.com/waypost/waypost/proxy/metrics"
	"github.com/waypost/waypost/watch"
	"github.com/waypost/waypost/watch/manifest"
)

// source is where the cluster is read from: a folder of manifests, or an API server.
func (p *process) source() (cluster.Source, error) {
	needs := p.needs()
	if path := p.command.Manifests; path != "" {
		source, err := manifest.FromPath(path, needs, p.log, p.metrics.Skipped)
		if err != nil {
			return nil, fmt.Errorf("read manifests from %s: %w", path, err)
		}
		return source, nil
	}
	access := watch.Access{Kubeconfig: p.settings.Kubeconfig, Server: p.command.Master}
	if access.Kubeconfig == "" {
		access.Endpoint = p.command.Master
	}
	source, err := watch.NewAPIServer(watch.Options{
		Access: access, Needs: needs, UserAgent: "waypost-proxy/" + version, QPS: p.settings.QPS, Burst: p.settings.Burst,
		Log: func(err error) { p.log.Warn(err.Error()) }, Metrics: &requests{p.metrics, p.state},
	})
	if err != nil {
		return nil, fmt.Errorf("reach the API server: %w; without a kubeconfig, this must run in a Pod", err)
	}
	return source, nil
}

// needs is what the source is asked for. Other Nodes' addresses are for the guard of external IPs only, and cost as many
// events as there are Nodes every few minutes.
func (p *process) needs() cluster.Needs {
	guards := !p.settings.NoExternalIPs && !p.command.AllowNodeIPs
	return cluster.Needs{NoNamespaces: true, Routes: true, Routed: true, NodeName: p.node, NodeAddresses: guards}
}

// requests counts requests to the API server, and tells the health page how they go.
type requests struct {
	*metrics.Metrics
	state *health.State
}

// Answered implements watch.Metrics.
func (r *requests) Answered(code, method, host string) {
	r.Metrics.Answered(code, method, host)
	switch {
	case code == "<error>":
		r.state.Answered("it cannot be reached")
	case strings.HasPrefix(code, "5"):
		r.state.Answered("it answers " + code)
	default:
		r.state.Answered("")
	}
}

var _ watch.Metrics = (*requests)(nil)
