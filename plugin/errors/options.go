package errors

import (
	"log/slog"
	"regexp"
	"time"

	"github.com/coredns/caddy/caddyfile"

	"github.com/waypost/waypost/config"
)

// Options are what an errors directive says.
type Options struct {
	// Stacktrace adds the stack to the line about a panic. Default: false.
	Stacktrace bool
	// Consolidate counts errors instead of printing each. An error belongs to the first that fits it. Default: none.
	Consolidate []Consolidate
}

// Consolidate counts the errors whose text matches Pattern and prints their number at the end of each Period.
type Consolidate struct {
	Period  time.Duration
	Pattern *regexp.Regexp
	// Level is that of the lines. Default: slog.LevelError.
	Level slog.Level
	// ShowFirst prints the first error of a period at once, and the number only if more followed. Default: false.
	ShowFirst bool
}

// maxPattern is how long a regular expression may be, in bytes.
const maxPattern = 10000

// Parse reads the directive:
//
//	errors [stdout] {
//	    stacktrace
//	    consolidate DURATION REGEXP [warning|error|info|debug] [show_first]
//	}
func Parse(d *config.Directive) (Options, error) {
	var o Options
	c := d.Dispenser()
	c.Next()
	switch args := c.RemainingArgs(); {
	case len(args) > 1:
		return o, c.ArgErr()
	case len(args) == 1 && args[0] != "stdout":
		return o, c.Errf("invalid log file: %s", args[0])
	}
	for c.NextBlock() {
		switch c.Val() {
		case "stacktrace":
			o.Stacktrace = true
		case "consolidate":
			rule, err := parseConsolidate(c)
			if err != nil {
				return o, err
			}
			o.Consolidate = append(o.Consolidate, rule)
		default:
			return o, c.SyntaxErr("Unknown field " + c.Val())
		}
	}
	if c.Next() {
		return o, c.Err(config.ErrOnce.Error())
	}
	return o, nil
}

func parseConsolidate(c *caddyfile.Dispenser) (Consolidate, error) {
	rule := Consolidate{Level: slog.LevelError}
	args := c.RemainingArgs()
	if len(args) < 2 || len(args) > 4 {
		return rule, c.ArgErr()
	}
	var err error
	if rule.Period, err = time.ParseDuration(args[0]); err != nil {
		return rule, c.Err(err.Error())
	}
	if len(args[1]) > maxPattern {
		return rule, c.Errf("regex pattern too long: %d > %d", len(args[1]), maxPattern)
	}
	if rule.Pattern, err = regexp.Compile(args[1]); err != nil {
		return rule, c.Err(err.Error())
	}
	return rule, rule.parseFlags(c, args[2:])
}

var levels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warning": slog.LevelWarn, "error": slog.LevelError,
}

// parseFlags reads the level and show_first, in this order.
func (rule *Consolidate) parseFlags(c *caddyfile.Dispenser, args []string) error {
	leveled := false
	for _, arg := range args {
		level, ok := levels[arg]
		switch {
		case ok && leveled:
			return c.Err("multiple log levels specified in consolidate")
		case ok && rule.ShowFirst:
			return c.Err("log level must come before show_first in consolidate")
		case ok:
			rule.Level, leveled = level, true
		case arg == "show_first":
			rule.ShowFirst = true
		default:
			return c.Errf("unknown option in consolidate: %s", arg)
		}
	}
	return nil
}
