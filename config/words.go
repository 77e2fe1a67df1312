package config

import (
	"fmt"
	"strings"
	"time"
)

// Clause is a part of what a directive does, in words: "keeps answers at most 30s".
type Clause struct {
	Pos  Pos // the zero Pos is the directive's own
	Text string
}

// Clauses are the texts that are not empty, about no line in particular.
func Clauses(texts ...string) []Clause {
	var list []Clause
	for _, text := range texts {
		if text != "" {
			list = append(list, Clause{Text: text})
		}
	}
	return list
}

// When is text where that holds, and "" elsewhere.
func When(holds bool, text string) string {
	if holds {
		return text
	}
	return ""
}

// Brief is a duration without the parts that are zero: "1h".
func Brief(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Seconds is a TTL as Brief has it.
func Seconds(ttl uint32) string { return Brief(time.Duration(ttl) * time.Second) }

// List is the zones in a row: "cluster.local., 10.in-addr.arpa.". A long list, as that of a network, is cut short.
func (z Zones) List() string {
	const most = 16
	if len(z) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(z[:most-1], ", "), len(z)-most+1)
	}
	return strings.Join(z, ", ")
}

// Region is a zone without some of the zones below it.
type Region struct {
	Zone   string
	Except Zones
}

// Under reports whether a zone is at or below another one.
func Under(zone, above string) bool {
	return above == "." || zone == above || strings.HasSuffix(zone, "."+above)
}

// Outside is what of the zones is in none of the regions. Where a region has only a part of a zone, the zone stays.
func (z Zones) Outside(regions []Region) Zones {
	var left Zones
	for _, zone := range z {
		covered := false
		for _, r := range regions {
			if !Under(zone, r.Zone) {
				continue
			}
			covered = true
			for _, except := range r.Except {
				if Under(zone, except) {
					left = append(left, zone)
				} else if Under(except, zone) {
					left = append(left, except)
				}
			}
			break
		}
		if !covered {
			left = append(left, zone)
		}
	}
	return left
}
