package chaos

import (
	"os"
	"slices"

	"github.com/waypost/waypost/config"
)

// Options are what a chaos directive says. No text is longer than 255 bytes, which is what a character string holds.
type Options struct {
	// Version is the answer for version.bind. Default: "" for the server's own, "Waypost-1.2.3".
	Version string
	// Authors are the answer for authors.bind, each once. Default: none but "The Waypost authors".
	Authors []string
	// Hostname is the answer for hostname.bind: the host's name, "localhost" where it has none.
	Hostname string

	Warnings []config.Warning // what is legal and surely not meant
}

// Parse reads the directive. As in CoreDNS only the first of several lines counts:
//
//	chaos [VERSION] [AUTHORS...]
func Parse(d *config.Directive) (Options, error) {
	o := Options{Authors: []string{"The Waypost authors"}, Hostname: "localhost", Warnings: d.OnlyFirst()}
	if name, err := os.Hostname(); err == nil {
		o.Hostname = trim(name)
	}
	c := d.Dispenser()
	c.Next()
	args := c.RemainingArgs()
	if len(args) > 0 {
		o.Version = trim(args[0])
	}
	if len(args) > 1 {
		o.Authors = nil
		for _, author := range args[1:] {
			o.Authors = append(o.Authors, trim(author))
		}
		slices.Sort(o.Authors)
		o.Authors = slices.Compact(o.Authors)
	}
	if c.NextBlock() {
		return o, c.Errf("unknown property '%s'", c.Val())
	}
	return o, nil
}

func trim(s string) string { return s[:min(len(s), 255)] }
