// Package config reads a Corefile: text in, server blocks of directives out, each with the place it was written at.
//
// It knows the grammar (snippets, import, environment, quotes, zones, schemes and ports) and no directive: which names
// are directives is for the caller to say, and what stands in them for the directive's own folder to read. The tokens
// come from github.com/coredns/caddy/caddyfile, the lexer and parser CoreDNS uses, so that both read a file alike.
package config

import (
	"bytes"
	"cmp"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/coredns/caddy/caddyfile"
)

// File is a parsed Corefile.
type File struct {
	// Blocks are the server blocks in the order of the text. There are none in an empty file.
	Blocks []Block
	// Warnings tell of what is legal and surely not meant.
	Warnings []Warning
	// Unmatched are import patterns without a file. The grammar warns of them itself, by package log.
	Unmatched []Warning
	// Digest changes when the meaning of the file may have: imports and environment count, comments count only where
	// they move a line. It is the very number CoreDNS logs as "Running configuration SHA512".
	Digest [sha512.Size]byte
}

// Block is one server block: its zones, and what serves them.
type Block struct {
	Keys       []Key       // at least one; a CIDR has been expanded in place
	Directives []Directive // each name once, in the order of their first lines; those of imported files come last
}

// Directive is all lines of one name in one server block.
type Directive struct {
	Name string
	Pos  Pos // of the first of its lines

	file   string
	tokens []caddyfile.Token
}

// Pos is a place in a file.
type Pos struct {
	File string // as the caller named it, or the absolute path of an imported file
	Line int    // counted from 1; 0 where it is not known
}

// Options say how to read a Corefile.
type Options struct {
	// Directives are the names that may stand in a block; nil allows any.
	Directives []string
	// Port is what a dns:// zone without a port listens on; 0 means 53.
	Port uint16
}

// ErrOnce is returned by a directive that stands more than once in a block and may not.
var ErrOnce = errors.New("this plugin can only be used once per Server Block")

// Parse reads the text of the Corefile called name. Imports are relative to the file they stand in. The error names
// file and line, in CoreDNS's words where CoreDNS has the same error.
func Parse(name string, text []byte, o Options) (*File, error) {
	seen, err := survey(name, text)
	if err != nil {
		return nil, err
	}
	parsed, err := parse(name, text, o.Directives)
	if err != nil {
		return nil, err
	}
	digest, err := json.Marshal(parsed)
	if err != nil {
		return nil, fmt.Errorf("digest of %s: %w", name, err)
	}
	file := &File{Warnings: seen.warnings, Unmatched: seen.unmatched, Digest: sha512.Sum512(digest)}
	positions := seen.positions(parsed)
	for _, b := range parsed {
		block := Block{Directives: directives(name, b.Tokens)}
		for _, text := range b.Keys {
			keys, err := parseKey(text, positions[0], o.Port)
			if err != nil {
				return nil, err
			}
			block.Keys = append(block.Keys, keys...)
			positions = positions[1:]
		}
		file.Blocks = append(file.Blocks, block)
	}
	return file, nil
}

// parse calls the grammar. Its lexer panics where an imported file cannot be read to its end.
func parse(name string, text []byte, valid []string) (blocks []caddyfile.ServerBlock, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: reading failed: %v", name, r)
		}
	}()
	return caddyfile.Parse(name, bytes.NewReader(text), valid)
}

// directives puts the tokens of a block, which the grammar hands over by name, in order.
func directives(file string, byName map[string][]caddyfile.Token) []Directive {
	list := make([]Directive, 0, len(byName))
	for name, tokens := range byName {
		list = append(list, Directive{Name: name, Pos: position(file, tokens[0]), file: file, tokens: tokens})
	}
	slices.SortFunc(list, func(a, b Directive) int {
		return cmp.Or(compareBool(a.Pos.File != file, b.Pos.File != file), cmp.Compare(a.Pos.File, b.Pos.File),
			cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Name, b.Name))
	})
	return list
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// position of a token: those of the main file do not say which file that is.
func position(file string, t caddyfile.Token) Pos {
	return Pos{File: cmp.Or(t.File, file), Line: t.Line}
}

// Directive is the one of that name, nil where the block has none.
func (b *Block) Directive(name string) *Directive {
	i := slices.IndexFunc(b.Directives, func(d Directive) bool { return d.Name == name })
	if i < 0 {
		return nil
	}
	return &b.Directives[i]
}

// Zones are the zones of the block, in order, without repetitions.
func (b *Block) Zones() Zones {
	seen := map[string]bool{}
	var zones Zones
	for _, k := range b.Keys {
		if !seen[k.Zone] {
			seen[k.Zone] = true
			zones = append(zones, k.Zone)
		}
	}
	return zones
}

// Dispenser hands out the directive's tokens, from the first. Its first Next stands on the directive's name, and each
// further one outside a block on the name in another of its lines. Errors it makes begin with file and line.
func (d *Directive) Dispenser() *caddyfile.Dispenser {
	dispenser := caddyfile.NewDispenserTokens(d.file, d.tokens)
	return &dispenser
}

// Word is the first word of a line in the directive's braces, "" where no word of the directive stands there. Of a line
// that begins with the directive's own name it is that.
func (d *Directive) Word(pos Pos) string {
	for _, t := range d.tokens {
		if position(d.file, t) == pos {
			return t.Text
		}
	}
	return ""
}

// Error says which directive err is about, as CoreDNS does: "plugin/NAME: ...". It is nil where err is.
func (d *Directive) Error(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("plugin/%s: %w", d.Name, err)
}

// Errorf makes an error about the directive as a whole, with the place of its first line.
func (d *Directive) Errorf(format string, args ...any) error {
	return d.Error(d.Pos.Errorf(format, args...))
}

// String is "file:line".
func (p Pos) String() string { return p.File + ":" + strconv.Itoa(p.Line) }

// Errorf makes an error of the grammar's form: "file:line - Error during parsing: ...".
func (p Pos) Errorf(format string, args ...any) error {
	return fmt.Errorf("%s - Error during parsing: %w", p, fmt.Errorf(format, args...))
}
