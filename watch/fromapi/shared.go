package fromapi

import (
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/waypost/waypost/cluster"
)

// sharedLimit bounds each table of shared. Full, the table is begun anew: values that live keep what they have, and what
// comes after is shared among itself.
const sharedLimit = 1 << 14

// shared holds one copy of what many values have in common. The zero value is empty and ready for use.
type shared struct {
	strings map[string]string
	places  map[string]*cluster.Place
	key     []byte // scratch
}

// string returns a string equal to s, the same for all who ask.
func (t *shared) string(s string) string {
	if s == "" {
		return ""
	}
	if known, ok := t.strings[s]; ok {
		return known
	}
	if t.strings == nil || len(t.strings) >= sharedLimit {
		t.strings = make(map[string]string)
	}
	t.strings[s] = s
	return s
}

// place returns a Place, the same for all who ask for the same; nil for one that says nothing.
func (t *shared) place(zone, node string, hints *discoveryv1.EndpointHints) *cluster.Place {
	if zone == "" && node == "" && hints == nil {
		return nil
	}
	t.key = append(append(append(t.key[:0], zone...), 0), node...)
	if hints != nil {
		for i := range hints.ForZones {
			t.key = append(append(t.key, 1), hints.ForZones[i].Name...)
		}
		for i := range hints.ForNodes {
			t.key = append(append(t.key, 2), hints.ForNodes[i].Name...)
		}
	}
	if known, ok := t.places[string(t.key)]; ok {
		return known
	}
	if t.places == nil || len(t.places) >= sharedLimit {
		t.places = make(map[string]*cluster.Place)
	}
	p := t.newPlace(zone, node, hints)
	t.places[string(t.key)] = p
	return p
}

func (t *shared) newPlace(zone, node string, hints *discoveryv1.EndpointHints) *cluster.Place {
	p := &cluster.Place{Zone: t.string(zone), Node: t.string(node)}
	if hints == nil {
		return p
	}
	for i := range hints.ForZones {
		p.ForZones = append(p.ForZones, t.string(hints.ForZones[i].Name))
	}
	for i := range hints.ForNodes {
		p.ForNodes = append(p.ForNodes, t.string(hints.ForNodes[i].Name))
	}
	return p
}
