package prometheus

import (
	"fmt"

	"github.com/coredns/caddy/caddyfile"
	"github.com/prometheus/exporter-toolkit/web"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/plugin/endpoint"
)

// Options are what a prometheus directive says.
type Options struct {
	// Address is where /metrics is served. Default: "localhost:9153".
	Address string
	// RuntimeMetrics shows all that the Go runtime knows of itself, for the whole process. Default: false, a selection.
	RuntimeMetrics bool
	// TLS is a web configuration file as Prometheus' exporters have it: TLS, users, headers. Default: "", plain HTTP for
	// everybody.
	TLS string

	Warnings []config.Warning // what is legal and surely not meant
}

// Parse reads the directive:
//
//	prometheus [ADDRESS] {
//	    runtime_metrics
//	    tls FILE
//	}
func Parse(d *config.Directive) (Options, error) {
	o := Options{Address: "localhost:9153"}
	c := d.Dispenser()
	c.Next()
	var err error
	if o.Address, err = endpoint.ParseAddress(c, o.Address); err != nil {
		return o, err
	}
	for c.NextBlock() {
		switch c.Val() {
		case "runtime_metrics":
			if len(c.RemainingArgs()) != 0 {
				return o, c.ArgErr()
			}
			o.RuntimeMetrics = true
		case "tls":
			if err := o.tls(c); err != nil {
				return o, err
			}
		default:
			return o, c.Errf("unknown option: %s", c.Val())
		}
	}
	if c.Next() {
		return o, c.Err(config.ErrOnce.Error())
	}
	return o, nil
}

// tls reads the option, and looks at the file that it names. As in CoreDNS names are answered without one too, and metrics
// are not.
func (o *Options) tls(c *caddyfile.Dispenser) error {
	if o.TLS != "" {
		return c.Err("tls block already specified")
	}
	args := c.RemainingArgs()
	if len(args) != 1 {
		return c.ArgErr()
	}
	o.TLS = args[0]
	if err := o.check(); err != nil {
		o.Warnings = append(o.Warnings, config.At(c).Warningf("no metrics: %v", err))
	}
	return nil
}

// check returns an error for a file of tls that is none.
func (o *Options) check() error {
	if err := web.Validate(o.TLS); err != nil {
		return fmt.Errorf("invalid TLS config: %w", err)
	}
	return nil
}
