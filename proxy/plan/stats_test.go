package plan_test

import (
	"testing"

	"github.com/waypost/waypost/proxy"
	"github.com/waypost/waypost/proxy/plan"
)

func TestStats(t *testing.T) {
	w := newWorld(t, atA)
	w.tell(`
		service prod/web 10.96.0.1 fd00::1 port=http:80/tcp:30080 internal-local external-local
		slice prod/web-1 web port=http:80/tcp 10.1.0.1@b 10.1.0.2@b
		service prod/none 10.96.0.2 port=http:80/tcp
	`)
	w.plan.Settled()
	got := w.plan.Stats()
	want := plan.Stats{
		Services: 2, Slices: 1, Endpoints: 2, NoLocalInternal: [2]int{1, 0}, NoLocalExternal: [2]int{1, 0},
		Routes: [proxy.Verdicts]int{proxy.Reject: 3, proxy.Drop: 1, proxy.Split: 1},
	}
	if got != want {
		t.Errorf("counted are %+v, want %+v", got, want)
	}
	objects, _ := parse(t, `
		service prod/web 10.96.0.1 port=http:80/tcp
		slice prod/web-1 web port=http:80/tcp 10.1.0.1@a 10.1.0.2@b
	`)
	for _, o := range objects {
		w.put(o, o)
	}
	got = w.plan.Stats()
	want.Services, want.Slices, want.PendingServices, want.PendingSlices = 3, 2, 1, 1
	if got != want {
		t.Errorf("while changes wait there are counted %+v, want %+v", got, want)
	}
	w.tell("") // takes them, but for the one that comes then
	w.put(objects[0], objects[0])
	if got = w.plan.Stats(); got.PendingServices != 2 || got.PendingSlices != 1 {
		t.Errorf("until the kernel has them %d and %d changes are pending, not 2 and 1", got.PendingServices, got.PendingSlices)
	}
	w.plan.Settled()
	w.plan.Settled()
	want = plan.Stats{Services: 4, Slices: 2, PendingServices: 1, Endpoints: 2, Routes: [proxy.Verdicts]int{proxy.Reject: 1, proxy.Forward: 1}}
	if got = w.plan.Stats(); got != want {
		t.Errorf("then there are counted %+v, want %+v", got, want)
	}
}
