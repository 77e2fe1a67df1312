package server

import (
	"testing"
	"time"

	"github.com/waypost/waypost/plugin/plugintest"
)

// TestComplaintsAfterClockSetBack: what goes wrong is logged however the machine's clock is set meanwhile.
func TestComplaintsAfterClockSetBack(t *testing.T) {
	var c complaint
	now := time.Now()
	back := plugintest.SetBack(now, time.Hour)
	for _, at := range []struct {
		when time.Time
		due  bool
	}{{now, true}, {now.Add(999 * time.Millisecond), false}, {back.Add(time.Second), true}, {back.Add(1999 * time.Millisecond), false}} {
		if got := c.due(at.when); got != at.due {
			t.Errorf("%s: due %v", at.when, got)
		}
	}
}

// TestIdleAfterClockSetBack: a connection is silent for too long however the machine's clock is set meanwhile.
func TestIdleAfterClockSetBack(t *testing.T) {
	limits := Limits{}.withDefaults()
	c := &conn{listener: &tcpListener{server: &Server{limits: limits}}, messages: 1, opened: time.Now()}
	c.asked = c.opened
	c.answered.Store(int64(time.Second))
	if got := c.deadline().Sub(plugintest.SetBack(c.opened, time.Hour)); got != time.Second+limits.Idle {
		t.Errorf("the deadline is %s after the opening, want %s", got, time.Second+limits.Idle)
	}
}
