package template

import (
	gotemplate "text/template"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/waypost/waypost/plugin/env"
)

// metrics are what templates count, under CoreDNS's names.
type metrics struct {
	matches   *prometheus.CounterVec
	templates *prometheus.CounterVec // that fail
	records   *prometheus.CounterVec // that are none
}

func newMetrics(e env.Env) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "coredns", Subsystem: "template", Name: name, Help: help}, labels)
	}
	m := &metrics{
		matches:   counter("matches_total", "Counter of template regex matches.", "server", "zone", "view", "class", "type"),
		templates: counter("template_failures_total", "Counter of go template failures.", "server", "zone", "view", "class", "type", "section", "template"),
		records:   counter("rr_failures_total", "Counter of mis-templated RRs.", "server", "zone", "view", "class", "type", "section", "template"),
	}
	for _, c := range []**prometheus.CounterVec{&m.matches, &m.templates, &m.records} {
		var err error
		if *c, err = env.Register(e, *c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// labels are what all metrics tell of a query.
type labels struct {
	server string
	zone   string
	view   string
	class  uint16
	typ    string
}

// matched counts a query that a rule answers.
func (m *metrics) matched(l labels) {
	m.matches.WithLabelValues(l.server, l.zone, l.view, dns.ClassToString[l.class], l.typ).Inc()
}

// failed counts a template that made no record.
func (m *metrics) failed(c *prometheus.CounterVec, l labels, t *gotemplate.Template) {
	c.WithLabelValues(l.server, l.zone, l.view, dns.ClassToString[l.class], l.typ, t.Name(), t.Root.String()).Inc()
}
