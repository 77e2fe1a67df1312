package health

import (
	"encoding/json"
	"net/http"
)

// Status serves a State.
type Status struct {
	State *State
	// Healthz and Livez are told the code of each answer; nil drops.
	Healthz, Livez func(code int)
}

// Handler returns the handler of /healthz and /livez.
//
// /healthz is for load balancers: 200 only if routes are there, changes reach the kernel in time and the Node exists and
// stays. /livez is for who would start the process anew: waiting for the API server or a Node that leaves is no reason.
func (s *Status) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		report, eligible := s.State.Report(), s.State.NodeEligible()
		report.NodeEligible = &eligible
		answer(w, report, report.Healthy && eligible && report.Waiting == "", s.Healthz)
	})
	mux.HandleFunc("/livez", func(w http.ResponseWriter, _ *http.Request) {
		report := s.State.Report()
		answer(w, report, report.Healthy, s.Livez)
	})
	return mux
}

func answer(w http.ResponseWriter, report Report, good bool, count func(int)) {
	code := http.StatusOK
	if !good {
		code = http.StatusServiceUnavailable
	} else {
		// Where nothing had to be done, what was done is as good as new: kube-proxy says so too.
		report.LastUpdated = report.CurrentTime
	}
	if count != nil {
		count(code)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(report) // else the client is gone
}
