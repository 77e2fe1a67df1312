package nodes

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// chronicle is when a Service's endpoints changed, and how: what to hold losses against.
type chronicle struct {
	mu    sync.Mutex
	lines []string
}

// follow writes the chronicle of a Service until the test ends.
func (c *town) follow(t *testing.T, namespace, service string) *chronicle {
	t.Helper()
	h := &chronicle{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			c.watchSlices(ctx, namespace, service, h)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return h
}

// watchSlices hands on slices until the API server ends the watch, as it does when it ends itself.
func (c *town) watchSlices(ctx context.Context, namespace, service string, h *chronicle) {
	w, err := c.Client.DiscoveryV1().EndpointSlices(namespace).Watch(ctx, metav1.ListOptions{LabelSelector: discovery.LabelServiceName + "=" + service})
	if err != nil {
		return
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		if slice, ok := event.Object.(*discovery.EndpointSlice); ok && slice.AddressType == discovery.AddressTypeIPv4 {
			h.note(slice)
		}
	}
}

func (h *chronicle) note(slice *discovery.EndpointSlice) {
	line := time.Now().Format("15:04:05.000")
	for _, e := range slice.Endpoints {
		line += " " + e.Addresses[0] + " " + conditionsOf(e) + ";"
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, line)
}

// conditionsOf says in few words what an endpoint is.
func conditionsOf(e discovery.Endpoint) string {
	is := func(condition *bool) bool { return condition != nil && *condition }
	var words []string
	for _, c := range []struct {
		is   bool
		name string
	}{{is(e.Conditions.Ready), "ready"}, {is(e.Conditions.Serving), "serving"}, {is(e.Conditions.Terminating), "terminating"}} {
		if c.is {
			words = append(words, c.name)
		}
	}
	return fmt.Sprint(strings.Join(words, ","))
}

func (h *chronicle) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.lines, "\n")
}
