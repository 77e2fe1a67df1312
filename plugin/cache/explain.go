package cache

import (
	"fmt"

	"github.com/waypost/waypost/config"
)

// Words are the options that may stand in the braces.
func Words() []string {
	return []string{"success", "denial", "prefetch", "serve_stale", "serve_stale_policy", "servfail", "disable", "keepttl"}
}

// Explain says in words what the directive does.
func (o Options) Explain() []config.Clause {
	list := config.Clauses("keeps replies to questions under "+o.Zones.List(), o.Success.explain("answers"), o.Denial.explain("denials"))
	failures := "keeps failures for " + config.Brief(o.ServFail)
	if o.ServFail == 0 {
		failures = "keeps no failures"
	}
	list = append(list, config.Clauses(
		failures,
		config.When(o.KeepTTL, "the TTL of what is kept does not count down"),
		config.When(o.Prefetch.Amount > 0, fmt.Sprintf("asks anew for what was asked for %d times without a pause of %s, when %d%% of its time is left",
			o.Prefetch.Amount, config.Brief(o.Prefetch.Gap), o.Prefetch.Percent)),
	)...)
	return append(list, o.Stale.explain()...)
}

func (l Class) explain(what string) string {
	text := fmt.Sprintf("keeps %s for %s at most and %s at least, %d of them", what, config.Seconds(l.Most), config.Seconds(min(l.Least, l.Most)), l.Capacity)
	if len(l.Except) > 0 {
		text += ", but none under " + l.Except.List()
	}
	return text
}

func (s Stale) explain() []config.Clause {
	if s.UpTo == 0 {
		return nil
	}
	how := "at once, and asks anew behind it"
	switch {
	case s.Verify && s.Timeout > 0:
		how = "when no new one comes within " + config.Brief(s.Timeout)
	case s.Verify:
		how = "when no new one can be had"
	}
	return config.Clauses(
		fmt.Sprintf("gives a reply up to %s after its time %s, with a TTL of %s", config.Brief(s.UpTo), how, config.Seconds(s.TTL)),
		config.When(s.Recheck > 0, "tries again "+config.Brief(s.Recheck)+" after it could not be had anew"),
		config.When(s.PreferPositive, "gives an old answer rather than a newer denial"),
	)
}

// Scope are the zones outside of which the directive has nothing to do.
func (o Options) Scope() config.Zones { return o.Zones }
