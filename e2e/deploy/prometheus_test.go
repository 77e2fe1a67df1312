package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/waypost/waypost/e2e/lab"
)

// prometheusAddress is where Prometheus answers queries, in the world.
const prometheusAddress = "127.0.0.1:9090"

// startPrometheus starts Debian's, which scrapes targets every second, by the jobs that they belong to.
func startPrometheus(t *testing.T, jobs map[string][]string) {
	t.Helper()
	var scraped []any
	for job, targets := range jobs {
		scraped = append(scraped, map[string]any{"job_name": job, "static_configs": []any{map[string]any{"targets": targets}}})
	}
	text, err := json.Marshal(map[string]any{"global": map[string]any{"scrape_interval": "1s"}, "scrape_configs": scraped})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(lab.Folder(), "prometheus.yaml")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	process, err := lab.StartProcess("prometheus", nil, "prometheus", "--config.file="+file,
		"--storage.tsdb.path="+filepath.Join(lab.Folder(), "prometheus"), "--web.listen-address="+prometheusAddress)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		process.Stop()
		if t.Failed() {
			t.Logf("Prometheus says:\n%s", process.LogEnd(20))
		}
	})
}

// series is how many an expression has in Prometheus now. One that it does not accept is an error.
func series(ctx context.Context, expression string) (int, error) {
	at := url.URL{Scheme: "http", Host: prometheusAddress, Path: "/api/v1/query", RawQuery: url.Values{"query": {expression}}.Encode()}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct{ Result []any }
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return 0, fmt.Errorf("read what Prometheus answers (%s): %w", response.Status, err)
	}
	if answer.Status != "success" {
		return 0, fmt.Errorf("Prometheus answers %s: %s", response.Status, answer.Error)
	}
	return len(answer.Data.Result), nil
}
