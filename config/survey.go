package config

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/coredns/caddy/caddyfile"
)

// A surveyor reads a Corefile and all it imports for the first time, and coarsely. The grammar of package caddyfile
// does not say where a header stands, and it follows imports and variables that lead back to themselves until memory
// or patience end: the first is found here, the second stopped.
type surveyor struct {
	main      Pos                // the file asked for
	files     map[string][]token // by absolute path
	snippets  map[string][]token // by name, what stands between the braces
	stack     []string           // the imports being followed, outermost first
	tokens    int                // tokens met, each as often as it is imported
	imports   int                // imports followed
	depth     int                // braces open
	header    []headerKey        // of the block about to open
	more      bool               // the header's last entry ended in a comma
	keys      []headerKey        // of all blocks
	warnings  []Warning
	unmatched []Warning
}

// headerKey is a zone as written and where.
type headerKey struct {
	text string
	pos  Pos
}

// token is one word of a file, with whether it is the first of its line.
type token struct {
	text  string
	pos   Pos
	first bool
	unset []string // variables in it that the environment does not have
}

// What no honest Corefile comes near; the grammar copies all tokens at each import, so it is the product that costs.
const (
	maxFile    = 16 << 20 // bytes of one imported file
	maxImports = 10000
	maxCopied  = 1 << 25 // tokens times imports
	maxValue   = 1 << 20 // bytes of a token once its variables are put in
)

// survey reads the Corefile called name.
func survey(name string, text []byte) (*surveyor, error) {
	path, err := filepath.Abs(name)
	if err != nil {
		return nil, fmt.Errorf("find the folder of %s: %w", name, err)
	}
	s := &surveyor{main: Pos{File: name}, files: map[string][]token{}, snippets: map[string][]token{}, stack: []string{path}}
	tokens, err := lex(name, text)
	if err != nil {
		return nil, err
	}
	if err := s.walk(tokens); err != nil {
		return nil, err
	}
	s.keys = append(s.keys, s.header...)
	return s, nil
}

// positions says where the keys of the parsed blocks stand, one after another. Where the coarse reading saw other keys
// than the grammar, only the file is known.
func (s *surveyor) positions(blocks []caddyfile.ServerBlock) []Pos {
	var list []Pos
	same := true
	for _, b := range blocks {
		for _, text := range b.Keys {
			pos := s.main
			if same = same && len(list) < len(s.keys) && s.keys[len(list)].text == text; same {
				pos = s.keys[len(list)].pos
			}
			list = append(list, pos)
		}
	}
	return list
}

// walk goes over tokens as the grammar does: headers outside braces, blocks inside, imports replaced by what they name.
func (s *surveyor) walk(tokens []token) error {
	for i := 0; i < len(tokens); i++ {
		t := tokens[i]
		if s.tokens++; s.tokens*s.imports > maxCopied {
			return t.pos.Errorf("the imports expand to more than %d tokens", s.tokens)
		}
		s.suspect(t)
		switch {
		case isImport(tokens, i):
			i++
			if err := s.follow(tokens[i]); err != nil {
				return err
			}
		case t.text == "{":
			if name, ok := s.snippet(); ok {
				body := braced(tokens[i+1:])
				s.snippets[name] = body
				i += len(body) + 1
				continue
			}
			s.open(t.pos)
		case t.text == "}":
			s.depth = max(s.depth-1, 0)
		case s.depth == 0:
			s.head(t)
		}
	}
	return nil
}

// suspect warns of a word that was to be filled in by somebody, and has not been.
func (s *surveyor) suspect(t token) {
	var warnings []Warning
	for _, name := range t.unset {
		warnings = append(warnings, t.pos.Warningf("the environment variable %s is not set: {$%s} becomes nothing", name, name))
	}
	if strings.Contains(t.text, "__PILLAR__") {
		warnings = append(warnings, t.pos.Warningf("%s is a placeholder, which only node-cache's own start replaces", t.text))
	}
	for _, w := range warnings {
		if !slices.Contains(s.warnings, w) {
			s.warnings = append(s.warnings, w)
		}
	}
}

// isImport reports whether tokens[i] begins an import line, and not just a word of that name.
func isImport(tokens []token, i int) bool {
	return tokens[i].text == "import" && (tokens[i].first || i > 0 && tokens[i-1].text == "{") &&
		i+1 < len(tokens) && !tokens[i+1].first
}

// snippet reports whether the header read so far is that of a snippet, and ends it.
func (s *surveyor) snippet() (name string, ok bool) {
	if s.depth > 0 || len(s.header) != 1 || !strings.HasPrefix(s.header[0].text, "(") {
		return "", false
	}
	if name, ok = strings.CutSuffix(s.header[0].text[1:], ")"); ok {
		s.header = nil
	}
	return name, ok
}

// open begins a block; outside of others it is a server block, whose header ends here.
func (s *surveyor) open(pos Pos) {
	if s.depth == 0 {
		if len(s.header) == 0 {
			s.warnings = append(s.warnings, pos.Warningf("a server block without a zone is not served"))
		}
		s.keys, s.header, s.more = append(s.keys, s.header...), nil, false
	}
	s.depth++
}

// head takes one word outside of braces: an entry of a header, or, on the line below one, the first directive of the
// one server block that may do without braces.
func (s *surveyor) head(t token) {
	if t.first && len(s.header) > 0 && !s.more {
		s.open(t.pos)
		return
	}
	if t.text == "" {
		return
	}
	text, comma := strings.CutSuffix(t.text, ",")
	s.header, s.more = append(s.header, headerKey{text, t.pos}), comma
}

// follow walks what an import names: a snippet, a file, or the files of a pattern. What is wrong with it, but for what
// the grammar would not survive, is left to the grammar to say.
func (s *surveyor) follow(arg token) error {
	if s.imports++; s.imports > maxImports {
		return arg.pos.Errorf("more than %d imports", maxImports)
	}
	if body, ok := s.snippets[arg.text]; ok {
		return s.enter("snippet "+arg.text, arg.pos, body)
	}
	paths := matches(arg.text, arg.pos.File)
	if len(paths) == 0 && strings.ContainsAny(arg.text, "*?") {
		s.unmatched = append(s.unmatched, arg.pos.Warningf("No files matching import glob pattern: %s", arg.text))
	}
	for _, path := range paths {
		tokens, err := s.load(path, arg.pos)
		if err != nil {
			return err
		}
		if err := s.enter(path, arg.pos, tokens); err != nil {
			return err
		}
	}
	return nil
}

// enter walks imported tokens, unless they are being walked already.
func (s *surveyor) enter(name string, pos Pos, tokens []token) error {
	if slices.Contains(s.stack, name) {
		return pos.Errorf("import leads back to itself: %s -> %s", strings.Join(s.stack, " -> "), name)
	}
	s.stack = append(s.stack, name)
	err := s.walk(tokens)
	s.stack = s.stack[:len(s.stack)-1]
	return err
}

// matches are the files an import pattern names from within file; a pattern the grammar refuses names none.
func matches(pattern, file string) []string {
	if !filepath.IsAbs(pattern) {
		from, err := filepath.Abs(file)
		if err != nil {
			return nil
		}
		pattern = filepath.Join(filepath.Dir(from), pattern)
	}
	if strings.Count(pattern, "*") > 1 || strings.Count(pattern, "?") > 1 || strings.Contains(pattern, "[") {
		return nil
	}
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return nil
	}
	return paths
}

// load reads an imported file once. Pipes and devices are refused, for they may never end.
func (s *surveyor) load(path string, pos Pos) ([]token, error) {
	if tokens, ok := s.files[path]; ok {
		return tokens, nil
	}
	info, err := os.Stat(path)
	if err != nil || info.IsDir() {
		return nil, nil
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, pos.Errorf("Could not import %s: not a plain file of at most %d bytes", path, maxFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, pos.Errorf("Could not import %s: %w", path, err)
	}
	tokens, err := lex(path, text)
	s.files[path] = tokens
	return tokens, err
}

// lex cuts a text into tokens, with their variables put in.
func lex(file string, text []byte) ([]token, error) {
	d := caddyfile.NewDispenser(file, bytes.NewReader(text))
	var tokens []token
	end := 0 // the line the previous token ended on
	for d.Next() {
		t := token{pos: Pos{File: file, Line: d.Line()}, first: d.Line() > end}
		end = d.Line() + strings.Count(d.Val(), "\n")
		t.unset = unset(d.Val())
		var ok bool
		if t.text, ok = expand(d.Val()); !ok {
			return nil, t.pos.Errorf("the environment variables in %q refer to themselves without end", d.Val())
		}
		tokens = append(tokens, t)
	}
	return tokens, nil
}

// braced is what stands before the brace that closes an open one, or all where none does.
func braced(tokens []token) []token {
	depth := 1
	for i, t := range tokens {
		switch t.text {
		case "{":
			depth++
		case "}":
			if depth--; depth == 0 {
				return tokens[:i]
			}
		}
	}
	return tokens
}

// expand puts the variables of the environment in, {%NAME%} before {$NAME}. Values may hold variables in turn; it
// reports false if that does not end.
func expand(text string) (string, bool) {
	for _, mark := range [...][2]string{{"{%", "%}"}, {"{$", "}"}} {
		for range 1000 {
			next, found := expandFirst(text, mark[0], mark[1])
			if text = next; !found {
				break
			}
			if len(text) > maxValue {
				return "", false
			}
		}
		if _, found := expandFirst(text, mark[0], mark[1]); found {
			return "", false
		}
	}
	return text, true
}

// variable is how a variable of the environment is written.
var variable = regexp.MustCompile(`\{\$(\w+)\}|\{%(\w+)%\}`)

// unset are the variables in a text that the environment does not have.
func unset(text string) []string {
	var names []string
	for _, match := range variable.FindAllStringSubmatch(text, -1) {
		name := cmp.Or(match[1], match[2])
		if _, ok := os.LookupEnv(name); !ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// expandFirst replaces the first variable between begin and end, wherever it occurs.
func expandFirst(text, begin, end string) (string, bool) {
	_, rest, found := strings.Cut(text, begin)
	if !found {
		return text, false
	}
	name, _, found := strings.Cut(rest, end)
	if !found || name == "" {
		return text, false
	}
	return strings.ReplaceAll(text, begin+name+end, os.Getenv(name)), true
}
