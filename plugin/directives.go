package plugin

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/plugin/autopath"
	"github.com/waypost/waypost/plugin/bind"
	"github.com/waypost/waypost/plugin/bufsize"
	"github.com/waypost/waypost/plugin/cache"
	"github.com/waypost/waypost/plugin/chaos"
	"github.com/waypost/waypost/plugin/dns64"
	"github.com/waypost/waypost/plugin/errors"
	"github.com/waypost/waypost/plugin/etcd"
	"github.com/waypost/waypost/plugin/forward"
	"github.com/waypost/waypost/plugin/grpc"
	"github.com/waypost/waypost/plugin/health"
	"github.com/waypost/waypost/plugin/hosts"
	"github.com/waypost/waypost/plugin/kubernetes"
	"github.com/waypost/waypost/plugin/loadbalance"
	"github.com/waypost/waypost/plugin/log"
	"github.com/waypost/waypost/plugin/loop"
	"github.com/waypost/waypost/plugin/nsid"
	"github.com/waypost/waypost/plugin/pprof"
	"github.com/waypost/waypost/plugin/prometheus"
	"github.com/waypost/waypost/plugin/ready"
	"github.com/waypost/waypost/plugin/reload"
	"github.com/waypost/waypost/plugin/rewrite"
	"github.com/waypost/waypost/plugin/template"
	"github.com/waypost/waypost/plugin/view"
	"github.com/waypost/waypost/plugin/whoami"
	"github.com/waypost/waypost/server"
)

// Each directive below is parsed and checked by its own package, and then given to its block or to the whole setup.

func buildNSID(b *block, d *config.Directive) error {
	o, err := nsid.Parse(d)
	if err != nil {
		return err
	}
	b.say(d, o)
	b.steps = append(b.steps, nsid.New(o))
	return nil
}

func buildBufsize(b *block, d *config.Directive) error {
	o, err := bufsize.Parse(d)
	if err != nil {
		return err
	}
	b.say(d, o)
	b.warn(d, o.Warnings...)
	b.steps = append(b.steps, bufsize.New(o))
	return nil
}

func buildBind(b *block, d *config.Directive) error {
	o, err := bind.Parse(d)
	if err != nil {
		return err
	}
	b.say(d, o)
	b.bound = true
	if b.hosts, err = o.Resolve(); err != nil {
		return err
	}
	if len(b.hosts) == 0 {
		b.warn(d, d.Pos.Warningf("no address is left, so that %s is not served", b))
	}
	return nil
}

func buildReload(b *block, d *config.Directive) error {
	o, err := reload.Parse(d)
	if err != nil {
		return err
	}
	b.say(d, o)
	b.setup.Period = o.Period()
	return nil
}

func buildReady(b *block, d *config.Directive) error {
	o, err := ready.Parse(d)
	if err != nil {
		return err
	}
	b.say(d, o)
	s, log := b.setup, b.env("ready").Log
	if s.ready == nil {
		s.ready, _, _ = have(s, "", func() (*ready.Ready, error) { return ready.New(b.env("ready")), nil })
	}
	s.ready.Add(o)
	s.serve(o.Address, ready.Path, s.ready, func(err error) { log.Error(err.Error()) })
	b.asked = true
	return nil
}

func buildHealth(b *block, d *config.Directive) error {
	o, err := health.Parse(d)
	if err != nil {
		return err
	}
	b.say(d, o)
	s := b.setup
	for _, h := range s.health {
		if h.Join(o) {
			return nil
		}
	}
	at := s.serve(o.Address, health.Path, http.HandlerFunc(health.Answer), nil)
	h, _, err := have(s, "", func() (*health.Health, error) { return health.New(o, at, b.env("health")) })
	s.health = append(s.health, h)
	return err
}

func buildPprof(b *block, d *config.Directive) error {
	o, err := pprof.Parse(d)
	if err != nil {
		return err
	}
	b.say(d, o)
	b.warn(d, o.Warnings...)
	s := b.setup
	s.serve(o.Address, pprof.Path, pprof.Handler(), nil)
	s.waits = o.Block // of several blocks the last one counts
	return nil
}

func buildPrometheus(b *block, d *config.Directive) error {
	o, err := prometheus.Parse(d)
	if err != nil {
		return err
	}
	b.say(d, o)
	s, metrics, log := b.setup, b.setup.compiler.metrics, b.env("prometheus").Log
	b.warn(d, o.Warnings...)
	way := o.Way(cmp.Or(key("tls", o.TLS, o.TLS), "tls "+o.TLS), log)
	at := s.serveBy(way, o.Address, prometheus.Path, metrics.Handler(), func(err error) {
		if len(o.Warnings) == 0 { // which have said it
			log.Error(fmt.Sprintf("Failed to start metrics handler: %v", err))
		}
	})
	if at.Way().Name != way.Name {
		b.warn(d, d.Pos.Warningf("no effect of tls or its absence, as the first prometheus at %s says how that is reached", o.Address))
	}
	s.runtime = s.runtime || o.RuntimeMetrics
	b.observers = append(b.observers, func(listener string) (server.Observer, error) {
		s.enabled = append(s.enabled, prometheus.Enabled{Server: listener, Zone: b.label(), View: b.view, Names: b.links})
		return metrics.Observer(listener, b.view, b.behind("prometheus"), b.config.Zones())
	})
	return nil
}

func buildErrors(b *block, d *config.Directive) error {
	o, err := errors.Parse(d)
	if err != nil {
		return err
	}
	b.say(d, o)
	e, _, err := have(b.setup, key("errors", d.String()), func() (*errors.Errors, error) { return errors.New(o, b.env("errors")), nil })
	b.observe(e)
	b.setup.stacktrace = b.setup.stacktrace || o.Stacktrace
	return err
}

func buildLog(b *block, d *config.Directive) error {
	o, err := log.Parse(d)
	if err != nil {
		return err
	}
	b.say(d, o)
	b.warn(d, o.Warnings...)
	b.observe(log.New(o, b.env("log")))
	return nil
}

func buildDNS64(b *block, d *config.Directive) error {
	o, err := dns64.Parse(d)
	if err != nil {
		return err
	}
	b.say(d, o)
	b.warn(d, o.Warnings...)
	s, err := dns64.New(o, b.env("dns64"))
	if err != nil {
		return err
	}
	b.steps = append(b.steps, s)
	return nil
}

func buildChaos(b *block, d *config.Directive) error {
	o, err := chaos.Parse(d)
	if err != nil {
		return err
	}
	b.say(d, o)
	b.warn(d, o.Warnings...)
	b.steps = append(b.steps, chaos.New(o, b.env("chaos")))
	b.chaos = true
	return nil
}

func buildLoadBalance(b *block, d *config.Directive) error {
	o, err := loadbalance.Parse(d)
	if err != nil {
		return err
	}
	b.say(d, o)
	b.warn(d, o.Warnings...)
	l, _, err := have(b.setup, key("loadbalance", o.Meaning(), o.Files()...), func() (*loadbalance.LoadBalance, error) {
		return loadbalance.New(o, b.env("loadbalance")), nil
	})
	b.steps = append(b.steps, l)
	return err
}

func buildRewrite(b *block, d *config.Directive) error {
	o, err := rewrite.Parse(d)
	if err != nil {
		return err
	}
	b.say(d, o)
	w := rewrite.New(o, b.env("rewrite"))
	b.steps = append(b.steps, w)
	b.chaos = b.chaos || w.Chaos()
	return nil
}

// buildCache makes the first of cache's steps; the second one stands behind kubernetes, whose names are always answered
// fresh.
func buildCache(b *block, d *config.Directive) error {
	o, err := cache.Parse(b.config, d)
	if err != nil {
		return err
	}
	b.say(d, o)
	b.warn(d, o.Warnings...)
	var fresh config.Zones
	if said := b.config.Directive("kubernetes"); said != nil {
		if k, err := kubernetes.Parse(b.config, said); err == nil { // else that is said when its turn comes
			fresh = k.Zones
		}
	}
	b.cache, _, err = have(b.setup, key("cache", b.meaning("cache")), func() (*cache.Cache, error) { return cache.New(o, b.env("cache"), fresh) })
	if err != nil {
		return err
	}
	b.steps = append(b.steps, cache.Early{Cache: b.cache})
	return nil
}

func buildAutopath(b *block, d *config.Directive) error {
	o, err := autopath.Parse(b.config, d)
	if err != nil {
		return err
	}
	b.say(d, o)
	b.warn(d, o.Warnings...)
	a, err := autopath.New(o, b.env("autopath"))
	if err != nil {
		return err
	}
	b.steps = append(b.steps, a)
	switch {
	case o.From == "":
	case b.config.Directive(o.From) == nil:
		b.warn(d, d.Pos.Warningf("no effect, as %s has no %s directive", b, o.From))
	case o.From == "kubernetes":
		b.autopath = a
	default:
		return d.Pos.Errorf("%s does not implement the AutoPather interface", o.From)
	}
	return nil
}

func buildTemplate(b *block, d *config.Directive) error {
	o, err := template.Parse(b.config, d)
	if err != nil {
		return err
	}
	b.say(d, o)
	b.warn(d, o.Warnings...)
	t, err := template.New(o, b.env("template"))
	if err != nil {
		return err
	}
	b.steps = append(b.steps, t)
	return nil
}

func buildHosts(b *block, d *config.Directive) error {
	o, err := hosts.Parse(b.config, d)
	if err != nil {
		return err
	}
	b.say(d, o)
	b.warn(d, o.Warnings...)
	h, _, err := have(b.setup, key("hosts", o.Meaning()), func() (*hosts.Hosts, error) { return hosts.New(o, b.env("hosts")) })
	if err != nil {
		return err
	}
	b.steps = append(b.steps, h)
	return nil
}

func buildKubernetes(b *block, d *config.Directive) error {
	o, err := kubernetes.Parse(b.config, d)
	if err != nil {
		return err
	}
	b.say(d, o)
	b.warn(d, o.Warnings...)
	e := b.env("kubernetes")
	meaning := fmt.Sprintf("%s %q", o.Meaning(), e.Bound)
	k, _, err := have(b.setup, key("kubernetes", meaning, o.Files()...), func() (*kubernetes.Kubernetes, error) { return kubernetes.New(o, e) })
	if err != nil {
		return err
	}
	if b.autopath != nil {
		b.autopath.Follow(k)
		if !k.KnowsPods() {
			a := b.config.Directive("autopath")
			b.warn(a, a.Pos.Warningf("no effect, as kubernetes in %s has no \"pods verified\"", b))
		}
	}
	b.steps = append(b.steps, k)
	if b.cache != nil {
		b.steps = append(b.steps, cache.Late{Cache: b.cache})
	}
	b.ready = append(b.ready, readiness{"kubernetes", k})
	return nil
}

func buildEtcd(b *block, d *config.Directive) error {
	o, err := etcd.Parse(b.config, d)
	if err != nil {
		return err
	}
	b.say(d, o)
	b.warn(d, o.Warnings...)
	e, _, err := have(b.setup, key("etcd", o.Meaning(), o.TLSFiles...), func() (*etcd.Etcd, error) { return etcd.New(o, b.env("etcd")) })
	if err != nil {
		return err
	}
	b.steps = append(b.steps, e)
	return nil
}

func buildLoop(b *block, d *config.Directive) error {
	o, err := loop.Parse(b.config, d)
	if err != nil {
		return err
	}
	b.say(d, o)
	c := b.setup.compiler // the part may outlive the Setup
	exit := func() {
		c.options.Journal.Flush()
		c.options.Exit(1)
	}
	b.loopKey = key("loop", loopMeaning(b, o))
	b.loop, b.looped, err = have(b.setup, b.loopKey, func() (*loop.Loop, error) { return loop.New(o, b.env("loop"), exit) })
	if err != nil {
		return err
	}
	b.steps = append(b.steps, b.loop)
	return nil
}

// loopMeaning is what a loop directive means together with the lines of forward that it watches: loop and forward are
// taken over together, or not at all, because loop knows which upstreams it has put out of use.
func loopMeaning(b *block, o loop.Options) string {
	meaning := fmt.Sprintf("%#v", o)
	said := b.config.Directive("forward")
	if said == nil {
		return meaning
	}
	lines, err := forward.Parse(said)
	if err != nil { // that is said when its turn comes
		return ""
	}
	for _, line := range lines {
		k := key("forward", line.Meaning(), line.TLSFiles...)
		if k == "" {
			return ""
		}
		meaning += "\n" + k
	}
	return meaning
}

func buildForward(b *block, d *config.Directive) error {
	lines, err := forward.Parse(d)
	if err != nil {
		return err
	}
	b.say(d, forward.Lines(lines))
	for i, line := range lines {
		b.warn(d, line.Warnings...)
		if err := buildForwardLine(b, line, i+1 < len(lines)); err != nil {
			return err
		}
	}
	return nil
}

// buildForwardLine makes one of the lines of forward. followed says that there is another one behind it.
func buildForwardLine(b *block, o forward.Options, followed bool) error {
	meaning := o.Meaning()
	switch {
	case b.loop != nil && b.loopKey == "":
		meaning = ""
	case meaning != "":
		meaning = fmt.Sprintf("%s %t %s", meaning, followed, b.loopKey)
	}
	f, _, err := have(b.setup, key("forward", meaning, o.TLSFiles...), func() (*forward.Forward, error) {
		return forward.New(o, followed, b.env("forward"))
	})
	if err != nil {
		return err
	}
	b.steps = append(b.steps, f)
	if b.loop != nil && !b.looped {
		b.loop.Watch(loop.Route{Zone: f.From(), Over: f.Over(), Servers: f.Servers})
	}
	return nil
}

func buildGRPC(b *block, d *config.Directive) error {
	o, err := grpc.Parse(d)
	if err != nil {
		return err
	}
	b.say(d, o)
	b.warn(d, o.Warnings...)
	followed := b.followed("grpc")
	meaning := fmt.Sprintf("%s %t", o.Meaning(), followed)
	g, _, err := have(b.setup, key("grpc", meaning, o.TLSFiles...), func() (*grpc.GRPC, error) { return grpc.New(o, followed, b.env("grpc")) })
	if err != nil {
		return err
	}
	b.steps = append(b.steps, g)
	return nil
}

func buildWhoami(b *block, d *config.Directive) error {
	if err := whoami.Parse(d); err != nil {
		return err
	}
	b.say(d, whoami.Options{})
	b.steps = append(b.steps, whoami.Whoami{})
	return nil
}

func buildView(b *block, d *config.Directive) error {
	o, err := view.Parse(d)
	if err != nil {
		return err
	}
	b.said = slices.Insert(b.said, 0, said{d, o}) // it acts before all others
	b.warn(d, o.Warnings...)
	b.takes = view.New(o).Takes
	return nil
}

// viewName is the name of a block's view, "" where it has none. Directives need it whose turn comes before that of view.
func viewName(b *config.Block) string {
	d := b.Directive("view")
	if d == nil {
		return ""
	}
	o, _ := view.Parse(d) // what is wrong is said when its turn comes
	return o.Name
}
