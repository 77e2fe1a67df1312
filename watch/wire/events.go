package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// The words that a watch says of an object.
const (
	Added    = "ADDED"
	Modified = "MODIFIED"
	Deleted  = "DELETED"
	Bookmark = "BOOKMARK" // only the object's resourceVersion counts: everything up to it has been told
	Error    = "ERROR"    // the object is a Status, and the watch is over
)

// Event is one step of a watch.
type Event struct {
	Type     string // one of the words above
	Object   []byte // without an envelope; good until the next call of Next
	Encoding Encoding
}

// Events reads the answer to a watch.
type Events struct {
	in    io.Reader
	enc   Encoding
	buf   []byte
	begin int // buf[begin:end] has been read and not yet handed out
	end   int
	err   error // what the last read said
}

// Sizes of a watch's buffer, in bytes. One that grew beyond the last is given back when it has been emptied.
const (
	watchBuffer     = 32 << 10
	watchBufferKeep = 1 << 20
)

// NewEvents returns Events that read from r.
func NewEvents(r io.Reader, enc Encoding) *Events {
	return &Events{in: r, enc: enc, buf: make([]byte, watchBuffer)}
}

// Buffered reports whether the next event is already there, so that Next will not wait for it.
func (e *Events) Buffered() bool {
	_, size := e.frame()
	return size > 0
}

// Next returns the next event, waiting for it. The error is io.EOF where the watch ended between two events.
func (e *Events) Next() (Event, error) {
	for {
		frame, size := e.frame()
		switch {
		case size > MaxObject:
			return Event{}, fmt.Errorf("read watch: %w", ErrTooLarge)
		case size > 0:
			e.begin += size
			return e.event(frame)
		case e.err == io.EOF && e.begin == e.end:
			return Event{}, io.EOF
		case e.err != nil:
			return Event{}, fmt.Errorf("read watch: %w", unexpected(e.err))
		}
		e.fill()
	}
}

// frame finds the first whole frame of the buffer, and how many bytes it takes with what delimits it; 0 where there is none
// yet. A frame that says it is longer than MaxObject is returned with its size alone.
func (e *Events) frame() (frame []byte, size int) {
	data := e.buf[e.begin:e.end]
	if e.enc == JSON {
		i := bytes.IndexByte(data, '\n')
		if i < 0 && len(data) > MaxObject {
			return nil, len(data)
		}
		return data[:max(i, 0)], i + 1
	}
	if len(data) < 4 {
		return nil, 0
	}
	size = int(binary.BigEndian.Uint32(data))
	if size > MaxObject {
		return nil, size
	}
	if len(data)-4 < size {
		return nil, 0
	}
	return data[4 : 4+size], 4 + size
}

// fill reads once, whatever is there to read, making room first.
func (e *Events) fill() {
	switch {
	case e.begin == e.end && len(e.buf) > watchBufferKeep:
		e.buf = make([]byte, watchBuffer)
		fallthrough
	case e.begin == e.end:
		e.begin, e.end = 0, 0
	case e.end == len(e.buf) && e.begin > 0:
		e.end = copy(e.buf, e.buf[e.begin:e.end])
		e.begin = 0
	case e.end == len(e.buf):
		e.buf = append(e.buf, make([]byte, len(e.buf))...)
	}
	n, err := e.in.Read(e.buf[e.end:])
	e.end += n
	e.err = err
}

func (e *Events) event(frame []byte) (Event, error) {
	read := readProtoEvent
	if e.enc == JSON {
		read = readJSONEvent
	}
	event, err := read(frame)
	if err != nil {
		return Event{}, fmt.Errorf("read watch: %w", err)
	}
	event.Encoding = e.enc
	return event, nil
}

func readJSONEvent(frame []byte) (Event, error) {
	var event struct {
		Type   string
		Object json.RawMessage
	}
	err := json.Unmarshal(frame, &event)
	return Event{Type: event.Type, Object: event.Object}, err
}

func readProtoEvent(frame []byte) (Event, error) {
	var event Event
	for len(frame) > 0 {
		f, rest, err := cutField(frame)
		if err != nil {
			return event, err
		}
		switch f.number {
		case 1:
			event.Type = word(f.value)
		case 2:
			if event.Object, err = extension(f.value); err != nil {
				return event, err
			}
		}
		frame = rest
	}
	return event, nil
}

// word returns the event's type, without an allocation for those that are known.
func word(b []byte) string {
	switch string(b) {
	case Added:
		return Added
	case Modified:
		return Modified
	case Deleted:
		return Deleted
	case Bookmark:
		return Bookmark
	}
	return string(b)
}

// extension unwraps the message inside a runtime.RawExtension.
func extension(b []byte) ([]byte, error) {
	for len(b) > 0 {
		f, rest, err := cutField(b)
		if err != nil {
			return nil, err
		}
		if f.number == 1 {
			u, err := unwrap(f.value)
			return u.object, err
		}
		b = rest
	}
	return nil, errMalformed
}
