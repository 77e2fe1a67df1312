package reload

import (
	"fmt"
	"testing"
	"time"

	"github.com/waypost/waypost/plugin/plugintest"
)

func TestParse(t *testing.T) {
	tests := []struct {
		lines            string
		interval, jitter time.Duration
		want             string // the error
	}{
		{"reload", 30 * time.Second, 15 * time.Second, ""},
		{"reload 2s", 2 * time.Second, time.Second, ""},
		{"reload 10s", 10 * time.Second, 5 * time.Second, ""},
		{"reload 1h 1s", time.Hour, time.Second, ""},
		{"reload 1m 0s", time.Minute, 0, ""},
		{"reload 30s 15s\nreload 5s", 30 * time.Second, 15 * time.Second, ""},
		{"reload 1s", 0, 0, "interval value must be greater or equal to 2s"},
		{"reload -30s", 0, 0, "interval value must be greater or equal to 2s"},
		{"reload 30s 999ms", 0, 0, "jitter value must be 0 or greater or equal to 1s"},
		{"reload 30s -1s", 0, 0, "jitter value must be 0 or greater or equal to 1s"},
		{"reload 30", 0, 0, `time: missing unit in duration "30"`},
		{"reload 30s x", 0, 0, `time: invalid duration "x"`},
		{"reload 30s 15s 1s", 0, 0, "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after '1s'"},
	}
	for _, tt := range tests {
		o, err := Parse(plugintest.Directive(t, tt.lines))
		switch {
		case tt.want != "":
			if fmt.Sprint(err) != tt.want {
				t.Errorf("%q:\ngot  %v\nwant %s", tt.lines, err, tt.want)
			}
		case err != nil || o.Interval != tt.interval || o.Jitter != tt.jitter:
			t.Errorf("%q: got %+v, %v", tt.lines, o, err)
		}
	}
}

// TestPeriod: periods are spread over the jitter, half of it to either side of the interval.
func TestPeriod(t *testing.T) {
	o := Options{Interval: 30 * time.Second, Jitter: 15 * time.Second}
	least, most := o.Interval, o.Interval
	for range 10000 {
		p := o.Period()
		least, most = min(least, p), max(most, p)
	}
	if least < 22500*time.Millisecond || least > 23*time.Second || most < 37*time.Second || most >= 37500*time.Millisecond {
		t.Errorf("from %s to %s", least, most)
	}
	if p := (Options{Interval: time.Minute}).Period(); p != time.Minute {
		t.Errorf("without jitter: %s", p)
	}
}
