package plugin

import (
	"errors"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/plugin/kubernetes"
)

// Checked is what a check has found out about a Corefile.
type Checked struct {
	// Errors keep the process from starting; the first is the one that the start would end with.
	Errors []error
	// Elsewhere is what only shows in a Pod of a cluster: here the start would end with it.
	Elsewhere []error
	Warnings  []config.Warning
	// Blocks are the server blocks in words, in the order of the file.
	Blocks []Explained
}

// Check does all that Compile does, and goes on after an error, to find the others too. Nothing is started.
func (c *Compiler) Check(file *config.File) Checked {
	s := &Setup{compiler: c}
	var checked Checked
	if err := known(file); err != nil {
		checked.Errors = append(checked.Errors, err)
	}
	s.build(file, func(err error) bool {
		if errors.Is(err, kubernetes.ErrNotInCluster) {
			checked.Elsewhere = append(checked.Elsewhere, err)
		} else {
			checked.Errors = append(checked.Errors, err)
		}
		return true
	})
	if len(checked.Errors) == 0 {
		if err := s.listen(); err != nil {
			checked.Errors = append(checked.Errors, err)
		} else {
			s.suspect()
		}
	}
	checked.Warnings = s.warnings
	for _, b := range s.blocks {
		checked.Blocks = append(checked.Blocks, b.explain())
	}
	return checked
}
