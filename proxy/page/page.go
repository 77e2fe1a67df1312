// Package page is what waypost-proxy serves beside its metrics, and how `waypost-proxy routes` asks for it.
package page

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy/account"
)

// Plan is what the page of routes tells of: a plan.Plan.
type Plan interface {
	// Services returns the names of all Services, sorted.
	Services() []cluster.Key
	// Account tells of one of them; false where there is none of that name any more.
	Account(key cluster.Key) (account.Service, bool)
}

// Options of a page.
type Options struct {
	Metrics   http.Handler
	Plan      Plan
	Mode      string // kube-proxy's name of what brings routes into the kernel: nftables
	Config    any    // kube-proxy's configuration, to be printed as JSON
	Profiling bool
}

// Handler returns the handler of kube-proxy's paths /metrics, /healthz, /proxyMode, /configz and, where profiling is wanted,
// /debug/pprof; and of our own, /routes, for who asks on the node itself.
func Handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", o.Metrics)
	mux.Handle("/healthz", text("ok"))
	mux.Handle("/proxyMode", text(o.Mode))
	mux.HandleFunc("/configz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{configGroup: o.Config}) // else the client is gone
	})
	mux.HandleFunc(routesPath, func(w http.ResponseWriter, r *http.Request) {
		if !fromThisNode(r) {
			http.Error(w, "routes are told on the node only: run `waypost-proxy routes` there", http.StatusForbidden)
			return
		}
		serveRoutes(w, r, o.Plan)
	})
	if o.Profiling {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// configGroup is the key under which kube-proxy shows its configuration.
const configGroup = "kubeproxy.config.k8s.io"

func text(body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = io.WriteString(w, body) // else the client is gone
	})
}

// fromThisNode reports whether a request's sender has an address of the machine: a loopback one, or the one that it has asked.
// Metrics may be open to the network, and whoever reads those is not to be told of every Service of the cluster.
func fromThisNode(r *http.Request) bool {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	if from.Addr().Unmap().IsLoopback() {
		return true
	}
	local, known := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return known && local.AddrPort().Addr().Unmap() == from.Addr().Unmap()
}

// routesPath is where accounts of Services are: JSON, one Service a line. The parameters "namespace" and "name" narrow
// them down.
const routesPath = "/routes"

// serveRoutes writes one account after the other, so that a large cluster never is in memory as text as a whole.
func serveRoutes(w http.ResponseWriter, r *http.Request, p Plan) {
	namespace, name := r.FormValue("namespace"), r.FormValue("name")
	w.Header().Set("Content-Type", "application/x-ndjson")
	to := json.NewEncoder(w)
	for _, key := range p.Services() {
		if namespace != "" && namespace != key.Namespace || name != "" && name != key.Name {
			continue
		}
		s, known := p.Account(key)
		if !known {
			continue
		}
		if err := to.Encode(s); err != nil {
			return
		}
	}
	fmt.Fprintln(w, endOfRoutes)
}

// endOfRoutes is the last line of routes, without which they are not whole.
const endOfRoutes = "null"
