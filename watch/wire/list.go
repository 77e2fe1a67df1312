package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// List reads a list. Its size does not matter: one item is held at a time.
type List struct {
	Version  string // the list's resourceVersion, known once Next has returned io.EOF
	Continue string // the token that asks for the next page; "" on the last one; known likewise

	items items
}

// items is what a list is in one of the encodings.
type items interface {
	// next returns the next item, good until the next call, and io.EOF after the last when all of the list was well.
	next(*List) ([]byte, error)
}

// NewList returns a List that reads from r.
func NewList(r io.Reader, enc Encoding) *List {
	if enc == Protobuf {
		return &List{items: newProtoItems(r)}
	}
	return &List{items: &jsonItems{in: json.NewDecoder(r)}}
}

// Next returns the next object, without an envelope. It is good until the next call. At the end of a list that came whole
// the error is io.EOF; every other error says that the list must not be taken for one.
func (l *List) Next() ([]byte, error) {
	item, err := l.items.next(l)
	switch {
	case err == nil:
		return item, nil
	case err != io.EOF:
		return nil, fmt.Errorf("read list: %w", err)
	case l.Version == "":
		return nil, errors.New("read list: it has no resourceVersion")
	}
	return nil, io.EOF
}

// jsonItems reads {"kind": "...List", "metadata": {...}, "items": [...]}, the members in any order.
type jsonItems struct {
	in    *json.Decoder
	state jsonState
	kind  string
	item  json.RawMessage
}

type jsonState uint8

const (
	beforeList jsonState = iota
	inList               // between members
	inItems
	afterList
)

func (j *jsonItems) next(l *List) ([]byte, error) {
	for {
		switch j.state {
		case beforeList:
			if err := j.expect(json.Delim('{')); err != nil {
				return nil, err
			}
			j.state = inList
		case inList:
			if err := j.member(l); err != nil {
				return nil, err
			}
		case inItems:
			if !j.in.More() {
				j.state = inList
				if err := j.expect(json.Delim(']')); err != nil {
					return nil, err
				}
				continue
			}
			j.item = j.item[:0]
			err := unexpected(j.in.Decode(&j.item))
			return j.item, err
		case afterList:
			return nil, io.EOF
		}
	}
}

// member reads one member of the list up to its value's end, or to the first item.
func (j *jsonItems) member(l *List) error {
	if !j.in.More() {
		j.state = afterList
		if !strings.HasSuffix(j.kind, "List") {
			return fmt.Errorf("the answer is of kind %q", j.kind)
		}
		return j.expect(json.Delim('}'))
	}
	name, err := j.in.Token()
	if err != nil {
		return unexpected(err)
	}
	switch name {
	case "kind":
		return unexpected(j.in.Decode(&j.kind))
	case "metadata":
		var meta struct{ ResourceVersion, Continue string }
		err := unexpected(j.in.Decode(&meta))
		l.Version, l.Continue = meta.ResourceVersion, meta.Continue
		return err
	case "items":
		return j.openItems()
	}
	var other json.RawMessage
	return unexpected(j.in.Decode(&other))
}

// openItems enters the items; null is how an empty list may be written.
func (j *jsonItems) openItems() error {
	t, err := j.in.Token()
	switch {
	case err != nil:
		return unexpected(err)
	case t == nil:
		return nil
	case t != json.Delim('['):
		return fmt.Errorf("items begin with %v", t)
	}
	j.state = inItems
	return nil
}

func (j *jsonItems) expect(d json.Delim) error {
	t, err := j.in.Token()
	if err == nil && t != d {
		err = fmt.Errorf("found %v, not %v", t, d)
	}
	return unexpected(err)
}

// unexpected turns an end of input where there should be none into what it is.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
