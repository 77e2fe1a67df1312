// Package pprof is the pprof directive: profiles of the process itself, for "go tool pprof http://localhost:6053".
package pprof

import (
	"net/http"
	"net/http/pprof"
	"strings"
)

// Path is above those of all profiles.
const Path = "/debug/pprof/"

// Handler answers for the whole path: an index, and the profiles that it names.
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(strings.TrimSuffix(Path, "/"), http.RedirectHandler(Path, http.StatusFound))
	mux.HandleFunc(Path, pprof.Index)
	mux.HandleFunc(Path+"cmdline", pprof.Cmdline)
	mux.HandleFunc(Path+"profile", pprof.Profile)
	mux.HandleFunc(Path+"symbol", pprof.Symbol)
	mux.HandleFunc(Path+"trace", pprof.Trace)
	return mux
}
