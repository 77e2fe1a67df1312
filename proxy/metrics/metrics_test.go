package metrics

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/waypost/waypost/proxy"
	"github.com/waypost/waypost/proxy/plan"
)

// What caused a change of one family's routes says nothing about the other's.
func TestTriggersCountForTheirFamily(t *testing.T) {
	m := New(plan.New(plan.Options{}), []string{"IPv4", "IPv6"})
	at := time.Unix(1795245360, 0).UnixNano()
	m.Applied(Applied{Now: time.Unix(1795245361, 0), Changes: &proxy.Changes{Triggered: []proxy.Trigger{
		{Family: "IPv4", At: at}, {Family: "IPv6", At: at}, {Family: "IPv4", At: at},
	}}})
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for family, want := range map[string]string{"IPv4": "2", "IPv6": "1"} {
		line := `kubeproxy_network_programming_duration_seconds_count{ip_family="` + family + `"} ` + want + "\n"
		if !strings.Contains(w.Body.String(), line) {
			t.Errorf("the metrics have no line %q", line)
		}
	}
}
