package reload

import (
	"context"
	"crypto/sha512"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/plugin/plugintest"
)

// bench is a Corefile that the test writes, and what reloads it.
type bench struct {
	t       *testing.T
	mu      sync.Mutex
	text    string // "" is no file
	refuse  error  // what comes of serving it
	period  time.Duration
	served  string // the first zone of what is served
	sum     [sha512.Size]byte
	asked   chan struct{}
	out     *plugintest.Output
	metrics prometheus.Gatherer
}

// start begins to reload a Corefile, which is served.
func start(t *testing.T, text string, period time.Duration) *bench {
	e, out := plugintest.Env(t, "reload", journal.Text)
	m, err := NewMetrics(e)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, text: text, period: period, asked: make(chan struct{}), out: out, metrics: e.Metrics.(prometheus.Gatherer)}
	file, err := b.parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	b.served, b.sum = file.Blocks[0].Keys[0].Zone, file.Digest
	served := Served{Replace: b.replace, Period: b.interval, Digest: b.digest}
	r := New(Source{Read: b.read, Parse: b.parse}, served, m, e.Log, e.Journal.Logger(""), file, false)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.Run(ctx, b.asked)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return b
}

// write writes the Corefile, and says what comes of serving it.
func (b *bench) write(text string, refuse error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text, b.refuse = text, refuse
}

// every has what is served next be looked at with another period.
func (b *bench) every(period time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.period = period
}

func (b *bench) interval() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.period
}

func (b *bench) digest() [sha512.Size]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sum
}

func (b *bench) read() ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.text == "" {
		return nil, fs.ErrNotExist
	}
	return []byte(b.text), nil
}

func (b *bench) parse(text []byte) (*config.File, error) {
	return config.Parse("Corefile", text, config.Options{})
}

func (b *bench) replace(_ context.Context, file *config.File) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuse != nil {
		return b.refuse
	}
	b.served, b.sum = file.Blocks[0].Keys[0].Zone, file.Digest
	return nil
}

// after says what is served, printed and measured some time later.
func (b *bench) after(d time.Duration) string {
	b.t.Helper()
	time.Sleep(d)
	synctest.Wait()
	printed := regexp.MustCompile(`[0-9a-f]{128}`).ReplaceAllString(b.out.Take(), "DIGEST")
	var said strings.Builder
	families, err := b.metrics.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			fmt.Fprintf(&said, " %s %v", strings.TrimPrefix(f.GetName(), "coredns_reload_"), m.GetCounter().GetValue()+m.GetGauge().GetValue())
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.served + said.String() + "\n" + printed
}

func (b *bench) expect(d time.Duration, want string) {
	b.t.Helper()
	if got := b.after(d); got != want {
		b.t.Errorf("after %s:\ngot  %s\nwant %s", d, got, want)
	}
}

// Lines in CoreDNS's words.
const (
	complete = "[INFO] Reloading\n[INFO] plugin/reload: Running configuration SHA512 = DIGEST\n[INFO] Reloading complete\n"
	refused  = "[INFO] Reloading\n[ERROR] Restart failed: no\n"
)

func TestTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a {\n}", 10*time.Second)
		b.expect(time.Minute, "a. failed_total 0 waypost_reload_failed 0 waypost_reload_serving_info 1\n")
		b.write("b {\n}", nil)
		b.expect(9*time.Second, "a. failed_total 0 waypost_reload_failed 0 waypost_reload_serving_info 1\n")
		b.expect(time.Second, "b. failed_total 0 version_info 1 waypost_reload_failed 0 waypost_reload_serving_info 1\n"+complete)
		b.expect(time.Minute, "b. failed_total 0 version_info 1 waypost_reload_failed 0 waypost_reload_serving_info 1\n")
		b.write("# a comment on a line of its own\nb {\n}", nil)
		b.expect(10*time.Second, "b. failed_total 0 version_info 1 waypost_reload_failed 0 waypost_reload_serving_info 1\n") // headers have no line of their own in the digest
		b.write("b {\n# but directives have\n\nfoo\n}", nil)
		b.expect(10*time.Second, "b. failed_total 0 version_info 1 waypost_reload_failed 0 waypost_reload_serving_info 1\n"+complete)
	})
}

// TestPeriodOf: the period is that of the Corefile which is served, and without the directive there is none.
func TestPeriodOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a {\n}", 10*time.Second)
		b.write("b {\n}", nil)
		b.every(2 * time.Second)
		b.expect(10*time.Second, "b. failed_total 0 version_info 1 waypost_reload_failed 0 waypost_reload_serving_info 1\n"+complete)
		b.write("c {\n}", nil)
		b.every(0)
		b.expect(2*time.Second, "c. failed_total 0 version_info 1 waypost_reload_failed 0 waypost_reload_serving_info 1\n"+strings.Replace(complete, "[INFO] plugin/reload: Running configuration SHA512 = DIGEST\n", "", 1))
		b.write("d {\n}", nil)
		b.expect(24*time.Hour, "c. failed_total 0 version_info 1 waypost_reload_failed 0 waypost_reload_serving_info 1\n")
	})
}

// TestBroken: what cannot be served is said and shown until it is mended, and tried once.
func TestBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a {\n}", 10*time.Second)
		const failed = "[ERROR] plugin/reload: Corefile changed but reload failed: starting with listener file descriptors: no\n"
		b.write("b {\n}", errors.New("no"))
		b.expect(10*time.Second, "a. failed_total 1 version_info 1 waypost_reload_failed 1 waypost_reload_serving_info 1\n"+refused+failed)
		b.expect(time.Minute, "a. failed_total 1 version_info 1 waypost_reload_failed 1 waypost_reload_serving_info 1\n")
		b.write("{", nil)
		_, err := b.parse([]byte("{"))
		unparsed := fmt.Sprintf("[WARNING] plugin/reload: Corefile parse failed: %v\n", err)
		b.expect(20*time.Second, "a. failed_total 1 version_info 1 waypost_reload_failed 1 waypost_reload_serving_info 1\n"+unparsed+unparsed)
		b.write("", nil)
		b.expect(20*time.Second, "a. failed_total 1 version_info 1 waypost_reload_failed 1 waypost_reload_serving_info 1\n")
		b.write("a {\n}", nil) // as it was at first
		b.expect(10*time.Second, "a. failed_total 1 version_info 1 waypost_reload_failed 0 waypost_reload_serving_info 1\n"+complete)
		b.write("", nil)
		b.expect(10*time.Second, "a. failed_total 1 version_info 1 waypost_reload_failed 1 waypost_reload_serving_info 1\n")
		b.write("a {\n}", nil) // which is what is served
		b.expect(10*time.Second, "a. failed_total 1 version_info 1 waypost_reload_failed 0 waypost_reload_serving_info 1\n")
	})
}

// TestNotYet: what may be possible the next time is tried again each time.
func TestNotYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a {\n}", 10*time.Second)
		later := fmt.Errorf("no: %w", ErrNotYet)
		said := strings.NewReplacer("no", "no: not yet").Replace(refused + "[ERROR] plugin/reload: Corefile changed but reload failed: starting with listener file descriptors: no\n")
		b.write("b {\n}", later)
		b.expect(10*time.Second, "a. failed_total 1 version_info 1 waypost_reload_failed 1 waypost_reload_serving_info 1\n"+said)
		b.expect(10*time.Second, "a. failed_total 2 version_info 1 waypost_reload_failed 1 waypost_reload_serving_info 1\n"+said)
		b.write("b {\n}", nil)
		b.expect(10*time.Second, "b. failed_total 2 version_info 1 waypost_reload_failed 0 waypost_reload_serving_info 1\n"+complete)
	})
}

func TestAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a {\n}", 0)
		signal := func(want string) {
			t.Helper()
			b.asked <- struct{}{}
			b.expect(0, want)
		}
		const plain = "[INFO] SIGUSR1: Reloading\n[INFO] Reloading\n[INFO] Reloading complete\n"
		signal("a. failed_total 0 version_info 1 waypost_reload_failed 0 waypost_reload_serving_info 1\n" + plain)
		b.write("b {\n}", nil)
		signal("b. failed_total 0 version_info 1 waypost_reload_failed 0 waypost_reload_serving_info 1\n" + plain)
		b.write("c {\n}", errors.New("no"))
		signal("b. failed_total 0 version_info 1 waypost_reload_failed 1 waypost_reload_serving_info 1\n[INFO] SIGUSR1: Reloading\n" + refused +
			"[ERROR] SIGUSR1: starting with listener file descriptors: no\n")
		b.write("{", nil)
		_, err := b.parse([]byte("{"))
		signal(fmt.Sprintf("b. failed_total 0 version_info 1 waypost_reload_failed 1 waypost_reload_serving_info 1\n[INFO] SIGUSR1: Reloading\n[INFO] Reloading\n"+
			"[ERROR] Restart failed: %v\n[ERROR] SIGUSR1: starting with listener file descriptors: %v\n", err, err))
		b.write("", nil)
		signal("b. failed_total 0 version_info 1 waypost_reload_failed 1 waypost_reload_serving_info 1\n[INFO] SIGUSR1: Reloading\n" +
			"[ERROR] SIGUSR1: loading updated Caddyfile: file does not exist\n")
		b.write("d {\n}", nil)
		signal("d. failed_total 0 version_info 1 waypost_reload_failed 0 waypost_reload_serving_info 1\n" + plain)
	})
}

// TestVersion: the metrics name the digests of the Corefile that was tried last and of the one that is served, and no other.
func TestVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a {\n}", 10*time.Second)
		expect := func(name, help, text string) {
			t.Helper()
			want := ""
			if text != "" {
				file, err := b.parse([]byte(text))
				if err != nil {
					t.Fatal(err)
				}
				want = fmt.Sprintf("# HELP %[1]s %[2]s\n# TYPE %[1]s gauge\n%[1]s{hash=\"sha512\",value=\"%[3]x\"} 1\n", name, help, file.Digest)
			}
			if err := testutil.GatherAndCompare(b.metrics, strings.NewReader(want), name); err != nil {
				t.Error(err)
			}
		}
		for _, step := range []struct {
			refuse        error
			tried, served string
		}{
			{nil, "", "a {\n}"},
			{nil, "b {\n}", "b {\n}"},
			{errors.New("no"), "c {\n}", "b {\n}"},
			{nil, "d {\n}", "d {\n}"},
		} {
			if step.tried != "" {
				b.write(step.tried, step.refuse)
				b.after(10 * time.Second)
			}
			expect("coredns_reload_version_info", "1, with the digest of the Corefile that was reloaded last.", step.tried)
			expect("waypost_reload_serving_info", "1, with the digest of the Corefile that is served.", step.served)
		}
	})
}
