package prometheus

import (
	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/plugin/endpoint"
)

// Options are what a prometheus directive says.
type Options struct {
	// Address is where /metrics is served. Default: "localhost:9153".
	Address string
	// RuntimeMetrics shows all that the Go runtime knows of itself, for the whole process. Default: false, a selection.
	RuntimeMetrics bool
}

// Parse reads the directive:
//
//	prometheus [ADDRESS] {
//	    runtime_metrics
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
			return o, c.Err("tls is not supported by Waypost yet: serve the metrics on localhost, behind a proxy that speaks TLS")
		default:
			return o, c.Errf("unknown option: %s", c.Val())
		}
	}
	if c.Next() {
		return o, c.Err(config.ErrOnce.Error())
	}
	return o, nil
}
