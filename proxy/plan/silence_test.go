package plan_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy/plan"
)

// probing is atA with the cluster's DNS under observation.
func probing() plan.Options {
	o := atA
	o.Probed = []cluster.Key{{Namespace: "kube-system", Name: "kube-dns"}, {Namespace: "no", Name: "such"}}
	return o
}

// hear has only these addresses give answers, and takes over what comes of it.
func (w *world) hear(answering ...string) {
	w.plan.UseOnly(addresses(answering...))
	w.tell("")
}

func addresses(texts ...string) (all []netip.Addr) {
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

func TestOnlyThoseWhoAnswerAreUsed(t *testing.T) {
	const dns = `
		service kube-system/kube-dns 10.96.0.10 port=dns:53/udp
		`
	for _, c := range []struct {
		name, cluster string
		answering     []string
		want          string
	}{
		{"one of two", dns + "slice kube-system/dns-1 kube-dns port=dns:53/udp 10.1.0.1@a 10.1.0.2@b",
			[]string{"10.1.0.1"}, "forward 10.1.0.1:53"},
		{"all: whoever finds nobody may be deaf", dns + "slice kube-system/dns-1 kube-dns port=dns:53/udp 10.1.0.1@a 10.1.0.2@b",
			nil, "forward 10.1.0.1:53 10.1.0.2:53"},
		{"all but one that is leaving", dns + "slice kube-system/dns-1 kube-dns port=dns:53/udp 10.1.0.1@a 10.1.0.2@b,leaving",
			[]string{"10.1.0.2"}, "forward 10.1.0.2:53"},
		{"all but one that serves nobody", dns + "slice kube-system/dns-1 kube-dns port=dns:53/udp 10.1.0.1@a 10.1.0.2@b,unready",
			[]string{"10.1.0.2"}, "forward 10.1.0.1:53"},
		{"the one that hints name", dns + "slice kube-system/dns-1 kube-dns port=dns:53/udp 10.1.0.1@a,node=a 10.1.0.2@b,node=b",
			[]string{"10.1.0.2"}, "forward 10.1.0.2:53"},
		{"one of two here, where only those here are used", `
			service kube-system/kube-dns 10.96.0.10 port=dns:53/udp internal-local
			slice kube-system/dns-1 kube-dns port=dns:53/udp 10.1.0.1@a 10.1.0.2@a 10.1.0.3@b`,
			[]string{"10.1.0.1", "10.1.0.3"}, "forward 10.1.0.1:53"},
		{"the last one here, where only those here are used", `
			service kube-system/kube-dns 10.96.0.10 port=dns:53/udp internal-local
			slice kube-system/dns-1 kube-dns port=dns:53/udp 10.1.0.1@a 10.1.0.3@b`,
			[]string{"10.1.0.3"}, "forward 10.1.0.1:53"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, probing())
			w.tell(c.cluster)
			before := w.routes()
			w.hear(c.answering...)
			expect(t, "routes", w.routes(), "10.96.0.10:53/udp kube-system/kube-dns:dns "+c.want+" masquerade foreign")
			w.hear("10.1.0.1", "10.1.0.2", "10.1.0.3")
			expect(t, "routes once all answer", w.routes(), before)
		})
	}
}

func TestSilenceOfOthersMeansNothing(t *testing.T) {
	w := newWorld(t, probing())
	w.tell(`
		service prod/web 10.96.0.1 port=dns:53/udp
		slice prod/web-1 web port=dns:53/udp 10.1.0.1 10.1.0.2
		`)
	before := w.routes()
	w.hear("10.1.0.2")
	expect(t, "routes", w.routes(), before)
}

// Flows to a silent endpoint contradict the route, and it is told why.
func TestSilentEndpointsDoNotServe(t *testing.T) {
	w := newWorld(t, probing())
	w.tell(`
		service kube-system/kube-dns 10.96.0.10 port=dns:53/udp
		slice kube-system/dns-1 kube-dns port=dns:53/udp 10.1.0.1 10.1.0.2
		`)
	w.hear("10.1.0.2")
	if got := w.plan.Wanted().Routes[0].Serving; !slices.Equal(got, []netip.AddrPort{netip.MustParseAddrPort("10.1.0.2:53")}) {
		t.Errorf("%v serve", got)
	}
	a, _ := w.plan.Account(cluster.Key{Namespace: "kube-system", Name: "kube-dns"})
	if e := a.Ports[0].Endpoints[0]; e.State != "silent" || e.Why != "it does not answer this node's questions, or has yet to" || e.Cluster {
		t.Errorf("the silent endpoint's account is %+v", e)
	}
}

func TestProbedEndpoints(t *testing.T) {
	w := newWorld(t, probing())
	changed := func(because string, want bool) {
		t.Helper()
		if w.plan.ProbedChanged() != want || w.plan.ProbedChanged() {
			t.Errorf("%s, others are to be asked: %t", because, !want)
		}
	}
	changed("at first", false)
	if got := w.plan.Probed(); len(got) > 0 {
		t.Errorf("%v are to be asked in an empty cluster", got)
	}
	w.tell(`
		service kube-system/kube-dns 10.96.0.10 fd96::a port=dns:53/udp port=dns-tcp:53/tcp port=metrics:9153/tcp
		slice kube-system/dns-1 kube-dns port=dns:1053/udp port=dns-tcp:1053/tcp port=metrics:9153/tcp 10.1.0.2 10.1.0.1,leaving 10.1.0.3,unready 10.1.0.4,dying
		slice kube-system/dns-2 kube-dns port=dns:53/udp port=dns-tcp:53/tcp fd01::1
		service prod/web 10.96.0.1 port=dns:53/udp
		slice prod/web-1 web port=dns:53/udp 10.1.0.9
		slice kube-system/dns-3 kube-dns port=metrics:9153/tcp 10.1.0.5 10.1.0.2
		`)
	want := []netip.AddrPort{
		netip.MustParseAddrPort("10.1.0.1:1053"), netip.MustParseAddrPort("10.1.0.2:1053"), netip.MustParseAddrPort("10.1.0.5:9153"),
		netip.MustParseAddrPort("[fd01::1]:53"),
	}
	changed("with the first objects", true)
	w.hear("10.1.0.2") // who is silent is asked nevertheless
	if got := w.plan.Probed(); !slices.Equal(got, want) {
		t.Errorf("%v are to be asked, want %v", got, want)
	}
	w.plan.ProbedChanged()
	w.tell("slice prod/web-1 web port=dns:53/udp 10.1.0.8")
	changed("when another Service changes", false)
	w.tell("- slice kube-system/dns-2 kube-dns port=dns:53/udp fd01::1")
	changed("when a slice is gone", true)
	w.tell("- service kube-system/kube-dns 10.96.0.10")
	changed("when the Service is gone", true)
}

// Who comes while others answer is not used before it is heard of.
func TestNewEndpointsWaitForTheirAnswer(t *testing.T) {
	const one = `
		service kube-system/kube-dns 10.96.0.10 port=dns:53/udp
		slice kube-system/dns-1 kube-dns port=dns:53/udp 10.1.0.1`
	w := newWorld(t, probing())
	w.tell(one)
	w.hear("10.1.0.1")
	before := w.routes()
	w.tell(one + " 10.1.0.2")
	expect(t, "routes with a new endpoint", w.routes(), before)
	w.hear("10.1.0.1", "10.1.0.2")
	expect(t, "routes when it has answered", w.routes(), "10.96.0.10:53/udp kube-system/kube-dns:dns forward 10.1.0.1:53 10.1.0.2:53 masquerade foreign")
	w.tell(`
		service kube-system/kube-dns 10.96.0.10 port=dns:53/udp
		slice kube-system/dns-1 kube-dns port=dns:53/udp 10.1.0.3`)
	expect(t, "routes with nobody but a new endpoint", w.routes(), "10.96.0.10:53/udp kube-system/kube-dns:dns forward 10.1.0.3:53 masquerade foreign")
}
