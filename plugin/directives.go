package plugin

import (
	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/plugin/autopath"
	"github.com/waypost/waypost/plugin/bind"
	"github.com/waypost/waypost/plugin/bufsize"
	"github.com/waypost/waypost/plugin/cache"
	"github.com/waypost/waypost/plugin/chaos"
	"github.com/waypost/waypost/plugin/dns64"
	"github.com/waypost/waypost/plugin/errors"
	"github.com/waypost/waypost/plugin/forward"
	"github.com/waypost/waypost/plugin/health"
	"github.com/waypost/waypost/plugin/hosts"
	"github.com/waypost/waypost/plugin/kubernetes"
	"github.com/waypost/waypost/plugin/loadbalance"
	"github.com/waypost/waypost/plugin/log"
	"github.com/waypost/waypost/plugin/loop"
	"github.com/waypost/waypost/plugin/nsid"
	"github.com/waypost/waypost/plugin/prometheus"
	"github.com/waypost/waypost/plugin/ready"
	"github.com/waypost/waypost/plugin/rewrite"
	"github.com/waypost/waypost/plugin/template"
	"github.com/waypost/waypost/plugin/whoami"
	"github.com/waypost/waypost/server"
)

// Each directive below is parsed and checked by its own package, and then given to its block or to the whole setup.

func buildNSID(b *block, d *config.Directive) error {
	o, err := nsid.Parse(d)
	if err != nil {
		return err
	}
	b.steps = append(b.steps, nsid.New(o))
	return nil
}

func buildBufsize(b *block, d *config.Directive) error {
	o, err := bufsize.Parse(d)
	if err != nil {
		return err
	}
	b.steps = append(b.steps, bufsize.New(o))
	return nil
}

func buildBind(b *block, d *config.Directive) error {
	o, err := bind.Parse(d)
	if err != nil {
		return err
	}
	b.bound = true
	if b.hosts, err = o.Resolve(); err != nil {
		return err
	}
	if len(b.hosts) == 0 {
		b.warn(d, d.Pos.Warningf("no address is left, so that %s is not served", b))
	}
	return nil
}

func buildReady(b *block, d *config.Directive) error {
	o, err := ready.Parse(d)
	if err != nil {
		return err
	}
	s := b.setup
	if s.ready == nil {
		s.ready = ready.New(b.env("ready"))
		s.onStart(s.ready.Start)
		s.onDrain(s.ready.Drain)
		s.onStop(s.ready.Stop)
	}
	s.ready.Add(o)
	b.asked = true
	return nil
}

func buildHealth(b *block, d *config.Directive) error {
	o, err := health.Parse(d)
	if err != nil {
		return err
	}
	s := b.setup
	for _, h := range s.health {
		if h.Join(o) {
			return nil
		}
	}
	h, err := health.New(o, b.env("health"))
	if err != nil {
		return err
	}
	s.health = append(s.health, h)
	s.onStart(h.Start)
	s.onDrain(h.Drain)
	s.onStop(h.Stop)
	return nil
}

func buildPrometheus(b *block, d *config.Directive) error {
	o, err := prometheus.Parse(d)
	if err != nil {
		return err
	}
	s, metrics := b.setup, b.setup.compiler.metrics
	if s.prometheus == nil {
		s.prometheus = prometheus.NewEndpoints(metrics, b.env("prometheus"))
		s.onStart(s.prometheus.Start)
		s.onStop(s.prometheus.Stop)
	}
	s.prometheus.Add(o)
	b.observers = append(b.observers, func(listener string) (server.Observer, error) {
		metrics.Enabled(listener, b.label(), "", b.links)
		return metrics.Observer(listener, "", b.behind("prometheus"), b.config.Zones())
	})
	return nil
}

func buildErrors(b *block, d *config.Directive) error {
	o, err := errors.Parse(d)
	if err != nil {
		return err
	}
	e := errors.New(o, b.env("errors"))
	b.observe(e)
	b.setup.onStop(e.Stop)
	b.setup.stacktrace = b.setup.stacktrace || o.Stacktrace
	return nil
}

func buildLog(b *block, d *config.Directive) error {
	o, err := log.Parse(d)
	if err != nil {
		return err
	}
	b.observe(log.New(o, b.env("log")))
	return nil
}

func buildDNS64(b *block, d *config.Directive) error {
	o, err := dns64.Parse(d)
	if err != nil {
		return err
	}
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
	b.steps = append(b.steps, chaos.New(o, b.env("chaos")))
	b.chaos = true
	return nil
}

func buildLoadBalance(b *block, d *config.Directive) error {
	o, err := loadbalance.Parse(d)
	if err != nil {
		return err
	}
	b.steps = append(b.steps, loadbalance.New(o))
	return nil
}

func buildRewrite(b *block, d *config.Directive) error {
	o, err := rewrite.Parse(d)
	if err != nil {
		return err
	}
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
	b.warn(d, o.Warnings...)
	var fresh config.Zones
	if said := b.config.Directive("kubernetes"); said != nil {
		if k, err := kubernetes.Parse(b.config, said); err == nil { // else that is said when its turn comes
			fresh = k.Zones
		}
	}
	if b.cache, err = cache.New(o, b.env("cache"), fresh); err != nil {
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
	b.warn(d, o.Warnings...)
	h, err := hosts.New(o, b.env("hosts"))
	if err != nil {
		return err
	}
	b.steps = append(b.steps, h)
	b.setup.onStart(h.Start)
	b.setup.onStop(h.Stop)
	return nil
}

func buildKubernetes(b *block, d *config.Directive) error {
	o, err := kubernetes.Parse(b.config, d)
	if err != nil {
		return err
	}
	b.warn(d, o.Warnings...)
	k, err := kubernetes.New(o, b.env("kubernetes"))
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
	b.setup.onStart(k.Start)
	b.setup.onStop(k.Stop)
	return nil
}

func buildLoop(b *block, d *config.Directive) error {
	o, err := loop.Parse(b.config, d)
	if err != nil {
		return err
	}
	exit := func() {
		b.setup.compiler.options.Journal.Flush()
		b.setup.compiler.options.Exit(1)
	}
	if b.loop, err = loop.New(o, b.env("loop"), exit); err != nil {
		return err
	}
	b.steps = append(b.steps, b.loop)
	b.setup.onStart(b.loop.Start)
	b.setup.onStop(b.loop.Stop)
	return nil
}

func buildForward(b *block, d *config.Directive) error {
	o, err := forward.Parse(d)
	if err != nil {
		return err
	}
	for _, line := range o {
		b.warn(d, line.Warnings...)
	}
	steps, err := forward.New(o, b.env("forward"))
	if err != nil {
		return err
	}
	for _, f := range steps {
		b.steps = append(b.steps, f)
		if b.loop != nil {
			b.loop.Watch(loop.Route{Zone: f.From(), Over: f.Over(), Servers: f.Servers})
		}
		b.setup.onStart(f.Start)
		b.setup.onStop(f.Stop)
	}
	return nil
}

func buildWhoami(b *block, d *config.Directive) error {
	if err := whoami.Parse(d); err != nil {
		return err
	}
	b.steps = append(b.steps, whoami.Whoami{})
	return nil
}
