package watch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/waypost/waypost/cluster"
)

// counts is Metrics that counts.
type counts struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *counts) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int{}
	}
	c.n[what]++
}

func (c *counts) of(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[what]
}

func (c *counts) RateLimited(verb, host string, _ time.Duration) {
	c.add("limited " + verb + " " + host)
}
func (c *counts) Requested(verb, host string, _ time.Duration) {
	c.add("requested " + verb + " " + host)
}
func (c *counts) Answered(code, method, host string) {
	c.add("answered " + code + " " + method + " " + host)
}
func (c *counts) Skipped(kind cluster.Kind) { c.add("skipped " + kind.String()) }

func TestMetrics(t *testing.T) {
	api := newFakeAPI(t)
	counted := &counts{}
	r, stop := watching(t, api, func(o *Options) { o.Metrics, o.QPS = counted, 1000 })
	r.waitSynced(3)
	host := api.Listener.Addr().String()
	eventually(t, "six answers", func() bool { return counted.of("answered 200 GET "+host) == 6 })
	stop()
	for what, want := range map[string]int{"requested GET ": 3, "answered 200 GET ": 6, "limited GET ": 6} {
		if n := counted.of(what + host); n != want {
			t.Errorf("%s%d times, want %d", what, n, want)
		}
	}
	api.Close()
	_, stop = watching(t, api, func(o *Options) { o.Metrics = counted })
	defer stop()
	eventually(t, "three errors", func() bool { return counted.of("answered <error> GET "+host) >= 3 })
}

// eventually returns when is holds, asking every now and then.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline, tick := time.After(patience), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// Requests in the long run are no closer than QPS allows, whatever they are for.
func TestQPS(t *testing.T) {
	const qps = 40
	api := newFakeAPI(t)
	begun := time.Now()
	r, _ := watching(t, api, func(o *Options) { o.QPS, o.Burst = qps, 1 })
	r.waitSynced(3)
	api.waitAsked(t, "watch", 3)
	// Of six requests the first is free.
	if took, least := time.Since(begun), 5*time.Second/qps; took < least {
		t.Errorf("6 requests took %v, should have taken %v", took, least)
	}
}

func TestLimits(t *testing.T) {
	const none = -1
	tests := []struct {
		options Options
		free    int // requests that need not wait
	}{
		{Options{}, none},
		{Options{QPS: 0.001}, defaultBurst},
		{Options{QPS: 0.001, Burst: 3}, 3},
		{Options{Burst: 2}, 2},
		{Options{MaxInflight: 4}, 4},
		{Options{QPS: 0.001, Burst: 3, MaxInflight: 4}, 3},
	}
	for _, test := range tests {
		test.options.Endpoint = "http://127.0.0.1:1"
		source, err := NewAPIServer(test.options)
		if err != nil {
			t.Fatal(err)
		}
		// A request that has to wait fails at once: there is no time left.
		ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(50*time.Millisecond))
		free := 0
		for ; free < 20; free++ {
			if _, _, err := source.client.admit(ctx); err != nil {
				break
			}
		}
		cancel()
		if test.free != none && free != test.free || test.free == none && free != 20 {
			t.Errorf("QPS %v, burst %d, in flight %d: %d requests did not wait, want %d",
				test.options.QPS, test.options.Burst, test.options.MaxInflight, free, test.free)
		}
	}
}

// One request in flight is enough for all kinds to be followed, and there is never another.
func TestMaxInflight(t *testing.T) {
	api := newFakeAPI(t)
	var mu sync.Mutex
	inFlight, most := 0, 0
	api.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Has("watch") {
			return false // the stream does not count
		}
		mu.Lock()
		inFlight++
		most = max(most, inFlight)
		mu.Unlock()
		api.list(w, r)
		mu.Lock()
		inFlight--
		mu.Unlock()
		return true
	}
	r, _ := watching(t, api, func(o *Options) { o.Needs, o.MaxInflight = everything, 1 })
	r.waitSynced(len(everything.Kinds()))
	api.waitAsked(t, "watch", len(everything.Kinds()))
	api.set(service("a", "10.96.0.1"))
	r.waitFor("+ services prod/a")
	if most != 1 {
		t.Errorf("%d lists were in flight at once", most)
	}
}

// A stream on which nothing comes is given up, by a client that would wait for ever otherwise.
func TestSilence(t *testing.T) {
	api := newFakeAPI(t)
	source, err := NewAPIServer(Options{Access: Access{Endpoint: api.URL}})
	if err != nil {
		t.Fatal(err)
	}
	defer source.client.close()
	res := resourceOf(cluster.KindService, cluster.Needs{})
	a, err := source.client.get(t.Context(), res, map[string][]string{"watch": {"true"}, "resourceVersion": {"1"}}, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if n, err := a.Read(make([]byte, 100)); !errors.Is(err, errSilent) {
		t.Errorf("read %d bytes, error %v", n, err)
	}
}

// A server that asks for time gets it, within reason.
func TestRetryAfter(t *testing.T) {
	api := newFakeAPI(t)
	seconds := 7
	api.before = func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Retry-After", fmt.Sprint(seconds))
		http.Error(w, "Too many requests, please try again later.", http.StatusTooManyRequests)
		return true
	}
	source, err := NewAPIServer(Options{Access: Access{Endpoint: api.URL}})
	if err != nil {
		t.Fatal(err)
	}
	defer source.client.close()
	f := &follower{client: source.client, res: resourceOf(cluster.KindPod, cluster.Needs{}), store: newStore(nil)}
	for asked, want := range map[int]time.Duration{7: 7 * time.Second, 3600: maxDelay} {
		seconds = asked
		if got, firm := f.pause(f.list(t.Context())); got != want || !firm {
			t.Errorf("asked to wait %d s, waits %v, insisting %v", asked, got, firm)
		}
	}
	for seconds = 1; f.retry.failures < 20; { // as after a while in which the server was not there
		if got, _ := f.pause(f.list(t.Context())); got > maxRefusedRetry*3/2 {
			t.Fatalf("asked to wait 1 s, waits %v after %d failures", got, f.retry.failures)
		}
	}
}

func TestBackoff(t *testing.T) {
	f := &follower{retry: backoff{min: minRetry}}
	refused := fmt.Errorf("Get: %w", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)})
	for err, seconds := range map[error][]time.Duration{
		errSilent: {0, 1, 2, 4, 8, 16, 30, 30, 30},
		refused:   {0, 1, 2, 4, 4, 4},
	} {
		for range 100 {
			for i, want := range seconds {
				want *= time.Second
				if got, firm := f.pause(err); got < want/2 || got > want+want/2 || firm {
					t.Fatalf("%v: failure %d: %v, insisting %v", err, i, got, firm)
				}
			}
			f.retry.reset()
		}
	}
}
