package plugin

import (
	"net"
	"strconv"

	"github.com/waypost/waypost/config"
)

// Explained is a server block in words.
type Explained struct {
	Pos   config.Pos
	Zones config.Zones
	// View is the name of its view; "" without one.
	View string
	// Served are its zones where it is asked for them.
	Served []Served
	// Steps are what a query goes through, in the order in which that acts.
	Steps []Told
	// Beside is what runs beside that.
	Beside []Told
	// Open are the zones in which there may be names that no directive answers.
	Open config.Zones
}

// Served is a zone at a listener.
type Served struct {
	Zone     string `json:"zone"`
	Listener string `json:"listener"` // by its name: "dns://:53"
}

// Told is a directive in words.
type Told struct {
	Name    string
	Pos     config.Pos
	Clauses []config.Clause
}

// explainer is what Parse has made of a directive.
type explainer interface {
	// Explain says in words what the directive does, the most important first. What is left out is as it is by default.
	Explain() []config.Clause
}

// address is where a block is asked for the names of one of its zones.
type address struct {
	key  config.Key
	host string // "" for all addresses
}

func (a address) listener() string {
	return string(a.key.Scheme) + "://" + net.JoinHostPort(a.host, strconv.Itoa(int(a.key.Port)))
}

func (b *block) addresses() []address {
	var list []address
	for _, host := range b.hosts {
		for _, key := range b.config.Keys {
			list = append(list, address{key, host})
		}
	}
	return list
}

// said is a directive of a block, and what it says.
type said struct {
	directive *config.Directive
	options   explainer
}

// say keeps what a directive says.
func (b *block) say(d *config.Directive, o explainer) { b.said = append(b.said, said{d, o}) }

// explain puts the block in words.
func (b *block) explain() Explained {
	e := Explained{Pos: b.config.Keys[0].Pos, Zones: b.config.Zones(), View: b.view, Open: b.open()}
	for _, a := range b.addresses() {
		e.Served = append(e.Served, Served{a.key.Zone, a.listener()})
	}
	for _, s := range b.said {
		told := Told{Name: s.directive.Name, Pos: s.directive.Pos, Clauses: s.options.Explain()}
		for i := range told.Clauses {
			if told.Clauses[i].Pos == (config.Pos{}) {
				told.Clauses[i].Pos = told.Pos
			}
		}
		if find(told.Name).link {
			e.Steps = append(e.Steps, told)
		} else {
			e.Beside = append(e.Beside, told)
		}
	}
	return e
}
