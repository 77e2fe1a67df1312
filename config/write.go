package config

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"

	"github.com/coredns/caddy/caddyfile"
)

// Text is a Corefile that means what this file does, and stands alone: what was imported is written out, and so are the
// values of variables. The error tells of a word that cannot be written: a zone that the grammar would take for something else, braces
// that close nothing, or the value of a variable with blanks and a backslash before a quote or at the end.
func (f *File) Text() ([]byte, error) {
	var out bytes.Buffer
	for i, b := range f.Blocks {
		if i > 0 {
			out.WriteByte('\n')
		}
		if err := b.writeHeader(&out); err != nil {
			return nil, err
		}
		for j := range b.Directives {
			text, err := b.Directives[j].text("    ")
			if err != nil {
				return nil, b.Directives[j].Pos.Errorf("%w", err)
			}
			out.WriteString(text)
		}
		out.WriteString("}\n")
	}
	return out.Bytes(), nil
}

// writeHeader writes the zones.
func (b *Block) writeHeader(out *bytes.Buffer) error {
	for keys := b.Keys; len(keys) > 0; {
		k := keys[0]
		same, err := parseKey(k.Text, k.Pos, k.Port) // several where it is a CIDR
		if err != nil {
			return err
		}
		keys = keys[len(same):]
		word, err := quote(k.Text)
		if err == nil && (word[0] == '(' || word == "import" || strings.HasSuffix(k.Text, ",")) {
			err = fmt.Errorf("%q cannot be written as a zone of a Corefile", word)
		}
		if err != nil {
			return k.Pos.Errorf("%w", err)
		}
		out.WriteString(word + " ")
	}
	out.WriteString("{\n")
	return nil
}

// String is the directive with its blocks as one would write it, without comments. It is empty for one that cannot be
// written, see Text.
func (d *Directive) String() string {
	text, err := d.text("")
	if err != nil {
		return ""
	}
	return text
}

// text is the directive's lines.
func (d *Directive) text(indent string) (string, error) {
	var out strings.Builder
	depth := 0
	for i, t := range d.tokens {
		if t.Text == "}" {
			depth--
		}
		if i > 0 && sameLine(d.tokens[i-1], t) {
			out.WriteByte(' ')
		} else {
			if i > 0 {
				out.WriteByte('\n')
			}
			out.WriteString(indent + strings.Repeat("    ", max(depth, 0)))
		}
		if t.Text == "{" {
			depth++
		}
		word, err := quote(t.Text)
		if err != nil {
			return "", err
		}
		out.WriteString(word)
	}
	if depth != 0 {
		return "", fmt.Errorf("the braces of %s cannot be written in a Corefile", d.Name)
	}
	out.WriteByte('\n')
	return out.String(), nil
}

// sameLine reports whether the grammar takes b for a word on the line where a ends.
func sameLine(a, b caddyfile.Token) bool {
	return a.File == b.File && a.Line+strings.Count(a.Text, "\n") == b.Line
}

// quote writes a word so that it is read as one.
func quote(word string) (string, error) {
	if word != "" && word[0] != '"' && !strings.ContainsFunc(word, func(r rune) bool { return r == '#' || unicode.IsSpace(r) }) {
		return word, nil
	}
	var out strings.Builder
	out.WriteByte('"')
	slashes := 0 // in a row, up to here
	for _, r := range word + "\"" {
		if r == '"' && slashes%2 == 1 {
			return "", fmt.Errorf("%q cannot be written in a Corefile", word)
		}
		if slashes++; r != '\\' {
			slashes = 0
		}
		if r == '"' {
			out.WriteByte('\\')
		}
		out.WriteRune(r)
	}
	text := out.String()
	return text[:len(text)-2] + `"`, nil // the last quote is the end
}
