package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"
)

// document is one of those in a file, as JSON.
type document struct {
	place
	json []byte
}

// place is where an object was written.
type place struct {
	file     string
	document int // counted from 1, empty ones left out
	line     int // of the file, that the document begins on
	item     int // of a list, counted from 1; 0 outside of one
}

// String is the place as messages name it: "web.yaml: document 2 (line 14), item 3".
func (p place) String() string {
	s := fmt.Sprintf("%s: document %d (line %d)", p.file, p.document, p.line)
	if p.item > 0 {
		s += fmt.Sprintf(", item %d", p.item)
	}
	return s
}

// documents cuts a file, YAML or JSON, into its documents.
func documents(file string, text []byte) ([]document, error) {
	text = bytes.TrimPrefix(text, []byte("\uFEFF"))
	if strings.HasPrefix(string(bytes.TrimSpace(text)), "{") {
		if docs, err := jsonDocuments(file, text); err == nil {
			return docs, nil
		}
		// It may be YAML that looks like JSON; if not, the YAML parser will say where it is broken.
	}
	return yamlDocuments(file, text)
}

// jsonDocuments cuts a file of JSON values.
func jsonDocuments(file string, text []byte) ([]document, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	var docs []document
	for decoder.More() {
		start := int(decoder.InputOffset())
		start += len(text[start:]) - len(bytes.TrimLeft(text[start:], " \t\r\n"))
		var raw json.RawMessage
		if err := decoder.Decode(&raw); err != nil {
			return nil, err
		}
		at := place{file: file, document: len(docs) + 1, line: 1 + bytes.Count(text[:start], []byte("\n"))}
		docs = append(docs, document{at, raw})
	}
	return docs, nil
}

// yamlDocuments cuts a file of YAML at its "---" lines. What stands behind the dashes belongs to the new document.
func yamlDocuments(file string, text []byte) ([]document, error) {
	var docs []document
	line := 1
	for len(text) > 0 {
		size := nextDocument(text)
		part := text[:size]
		if start, ok := content(part); ok {
			at := place{file: file, document: len(docs) + 1, line: line + start}
			value, err := toJSON(part, line)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", at, err)
			}
			docs = append(docs, document{at, value})
		}
		line += bytes.Count(part, []byte("\n"))
		text = text[size:]
	}
	return docs, nil
}

// nextDocument is the size of the document at the beginning of text, which ends before the next line of dashes.
func nextDocument(text []byte) int {
	for at := 0; ; {
		end := bytes.IndexByte(text[at:], '\n')
		if end < 0 {
			return len(text)
		}
		if at += end + 1; separates(text[at:]) {
			return at
		}
	}
}

func separates(text []byte) bool {
	return bytes.HasPrefix(text, []byte("---")) && (len(text) == 3 || strings.IndexByte(" \t\r\n", text[3]) >= 0)
}

// content reports whether a document says anything, and how many lines come before that.
func content(text []byte) (line int, ok bool) {
	for part := range bytes.Lines(text) {
		if line == 0 && separates(part) {
			part = part[3:]
		}
		if part = bytes.TrimSpace(part); len(part) > 0 && part[0] != '#' {
			return line, true
		}
		line++
	}
	return 0, false
}

// toJSON converts a document that begins on a line of its file, which errors name.
func toJSON(text []byte, line int) ([]byte, error) {
	value, err := yaml.YAMLToJSONStrict(text)
	if err == nil {
		return value, nil
	}
	padded := append(bytes.Repeat([]byte("\n"), line-1), text...)
	if _, again := yaml.YAMLToJSONStrict(padded); again != nil {
		err = again
	}
	return nil, errors.New(strings.Join(strings.Fields(err.Error()), " "))
}
