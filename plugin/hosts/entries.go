package hosts

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"

	"github.com/waypost/waypost/message"
)

// entries are the contents of one source: a hosts file, or the lines in the Corefile.
type entries struct {
	names map[message.Name]addresses
	wild  map[message.Name]addresses // by what stands behind the asterisk label
	ptrs  map[netip.Addr][]message.Name
	count int // as CoreDNS counts: each address of each name, and each of its PTR records
}

// addresses of one name, in the order of the source, as often as they stand there.
type addresses struct{ v4, v6 []netip.Addr }

// find is what a name has: where it has nothing of a family, its wildcard may.
func (e *entries) find(name message.Name) addresses {
	own := e.names[name]
	if name.Labels() < 2 {
		return own
	}
	wild := e.wild[name.Parent()]
	if own.v4 == nil {
		own.v4 = wild.v4
	}
	if own.v6 == nil {
		own.v6 = wild.v6
	}
	return own
}

// reader reads the text of a hosts file.
type reader struct {
	source    string            // what the text is, for messages
	zones     []message.Name    // names outside them are left out
	noReverse bool              // no PTR records are made
	warn      func(text string) // told of what is left out because of its length
	lines     int               // how many began with an address
	others    int               // how many did not
	entries   *entries
}

// maxField is how long an address or a name may be, in bytes. That of a line is not limited.
const maxField = 1024

// read reads the text: lines of an address and names, what follows a # does not count. As in CoreDNS, a line that does not
// begin with an address and a name that is none are left out without a word.
func (r *reader) read(text []byte) *entries {
	r.entries = &entries{
		names: map[message.Name]addresses{}, wild: map[message.Name]addresses{}, ptrs: map[netip.Addr][]message.Name{},
	}
	number := 0
	for line := range bytes.Lines(text) {
		number++
		line, _, _ = bytes.Cut(line, []byte("#"))
		r.line(bytes.FieldsFunc(line, blank), number)
	}
	return r.entries
}

func blank(c rune) bool { return c == ' ' || '\t' <= c && c <= '\r' }

// line reads the fields of one line.
func (r *reader) line(fields [][]byte, number int) {
	if len(fields) == 0 {
		return
	}
	if len(fields[0]) > maxField {
		r.warn(fmt.Sprintf("%s, line %d: address longer than %d bytes, dropping the line", r.source, number, maxField))
		return
	}
	addr := parseAddr(fields[0])
	if !addr.IsValid() {
		r.others++
		return
	}
	r.lines++
	for _, field := range fields[1:] {
		if len(field) > maxField {
			r.warn(fmt.Sprintf("%s, line %d: name longer than %d bytes, dropping the name", r.source, number, maxField))
			continue
		}
		r.name(addr, field)
	}
}

// parseAddr reads an address, without its zone. It is the zero Addr for what is none.
func parseAddr(text []byte) netip.Addr {
	text, _, _ = bytes.Cut(text, []byte("%"))
	addr, err := netip.ParseAddr(string(text))
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap()
}

// name adds an address of a name.
func (r *reader) name(addr netip.Addr, text []byte) {
	name, err := message.ParseName(string(text))
	if err != nil || !slices.ContainsFunc(r.zones, name.Under) {
		return
	}
	e := r.entries
	e.count++
	if parent, ok := wildcard(name); ok {
		e.wild[parent] = e.wild[parent].and(addr)
		return
	}
	e.names[name] = e.names[name].and(addr)
	if !r.noReverse {
		e.ptrs[addr] = append(e.ptrs[addr], name)
		e.count++
	}
}

// wildcard returns what stands behind the asterisk label of a name that begins with one.
func wildcard(name message.Name) (parent message.Name, ok bool) {
	if len(name) < 2 || name[:2] != "\x01*" {
		return "", false
	}
	return name.Parent(), true
}

// and adds an address.
func (a addresses) and(addr netip.Addr) addresses {
	if addr.Is4() {
		a.v4 = append(a.v4, addr)
	} else {
		a.v6 = append(a.v6, addr)
	}
	return a
}
