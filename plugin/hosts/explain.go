package hosts

import (
	"fmt"
	"strings"

	"github.com/waypost/waypost/config"
)

// Words are the options that may stand in the braces.
func Words() []string {
	return []string{"ttl", "no_reverse", "reload", "fallthrough", "fallthrough_unsupported"}
}

// Explain says in words what the directive does.
func (o Options) Explain() []config.Clause {
	missing := "a name under them that is not there is SERVFAIL"
	if len(o.Fallthrough) > 0 {
		missing = "a name that is not there goes on if it is under " + o.Fallthrough.List()
	}
	every := "looks every " + config.Brief(o.Reload) + " whether the file has changed"
	if o.Reload == 0 {
		every = "reads the file once, at the start"
	}
	list := config.Clauses(
		"answers A, AAAA and PTR of the hosts file "+o.Path+" for names under "+o.Zones.List(),
		missing,
		config.When(o.Unsupported, "and so do other types at names that are there"),
		"with a TTL of "+config.Seconds(o.TTL),
		every,
		config.When(o.NoReverse, "has no PTR"),
	)
	for _, line := range o.Inline {
		if fields := strings.Fields(line); parseAddr([]byte(fields[0])).IsValid() {
			list = append(list, config.Clauses(fmt.Sprintf("%s is %s", strings.Join(fields[1:], ", "), fields[0]))...)
		}
	}
	return list
}

// Scope are the zones outside of which the directive has nothing to do, but for PTR.
func (o Options) Scope() config.Zones { return o.Zones }

// Settles are the names that no directive behind is asked for. Those that are not there are SERVFAIL.
func (o Options) Settles() []config.Region { return nil }

// Stops are the zones in which nothing but PTR goes on.
func (o Options) Stops() config.Zones {
	if len(o.Fallthrough) > 0 {
		return nil
	}
	return o.Zones
}
