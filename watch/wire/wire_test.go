package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	goruntime "runtime"
	"strings"
	"testing"
	"testing/iotest"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
)

var encodings = map[string]Encoding{"protobuf": Protobuf, "json": JSON}

// bigger than the buffers that lists and watches are read through
var bigName = strings.Repeat("n", 3*listBuffer)

func TestList(t *testing.T) {
	lists := []struct {
		name          string
		version, next string
		items         []string
	}{
		{"empty", "7", "", nil},
		{"one", "7", "", []string{"a"}},
		{"page", "8", "token", []string{"a", "b", "c"}},
		{"big items", "9", "", []string{"a", bigName, "b", bigName, bigName}},
	}
	for encoding, enc := range encodings {
		for _, l := range lists {
			t.Run(encoding+"/"+l.name, func(t *testing.T) {
				body := encodeList(t, enc, l.version, l.next, l.items...)
				for name, r := range readers(body) {
					got := NewList(r, enc)
					items, err := drain(got, enc)
					if err != io.EOF || got.Version != l.version || got.Continue != l.next || !equal(items, l.items) {
						t.Errorf("%s: items %.20q, version %q, next %q, error %v", name, items, got.Version, got.Continue, err)
					}
				}
			})
		}
	}
}

// A list that broke off must never look like one that ended: what it lacks would be deleted.
func TestListBrokenOff(t *testing.T) {
	for encoding, enc := range encodings {
		body := encodeList(t, enc, "7", "", "a", "b")
		whole := len(body)
		if enc == Protobuf {
			whole -= len("\x1a\x00\x22\x00") // the envelope's two last fields, empty, belong to no list
		} else {
			whole -= len("\n")
		}
		for n := range whole {
			if _, err := drain(NewList(bytes.NewReader(body[:n]), enc), enc); err == io.EOF {
				t.Errorf("%s: %d bytes of %d were taken for the list", encoding, n, len(body))
			}
		}
	}
}

func TestListRefused(t *testing.T) {
	status := &metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure"}
	tests := []struct {
		name string
		enc  Encoding
		body string
		want string // part of the error
	}{
		{"html", Protobuf, "<html>502</html>", "does not begin with"},
		{"html", JSON, "<html>502</html>", "invalid character"},
		{"no version", Protobuf, string(encodeList(t, Protobuf, "", "", "a")), "no resourceVersion"},
		{"no version", JSON, string(encodeList(t, JSON, "", "", "a")), "no resourceVersion"},
		{"a status", Protobuf, string(encode(t, Protobuf, status)), `of kind "Status"`},
		{"a status", JSON, string(encode(t, JSON, status)), `of kind "Status"`},
		{"no kind", JSON, `{"metadata":{"resourceVersion":"1"},"items":[]}`, `of kind ""`},
		{"items no array", JSON, `{"kind":"PodList","items":{}}`, "items begin with {"},
		{"an array", JSON, `[]`, "found [, not {"},
		{"item beyond the list", Protobuf, "k8s\x00\x12\x02\x12\x7f", "malformed"},
		{"item too large", Protobuf, "k8s\x00\x12\xff\xff\xff\xff\x0f\x12\x81\x80\x80\x10", ErrTooLarge.Error()},
		{"endless varint", Protobuf, "k8s\x00\x12\x20" + strings.Repeat("\xff", 32), "malformed"},
		{"a number as item", Protobuf, "k8s\x00\x12\x02\x10\x01", "malformed"},
		{"much after the list", Protobuf, string(encodeList(t, Protobuf, "1", "")) + strings.Repeat("\x00", 2000), "after the list"},
	}
	for _, test := range tests {
		_, err := drain(NewList(strings.NewReader(test.body), test.enc), test.enc)
		if err == nil || err == io.EOF || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", test.name, err, test.want)
		}
	}
}

func TestEvents(t *testing.T) {
	words := []string{Added, Modified, Deleted, Bookmark, "UNHEARD-OF"}
	for encoding, enc := range encodings {
		var body []byte
		var want []string
		for i, word := range append(words, words...) {
			name := fmt.Sprint("pod-", i)
			if i == 3 {
				name = bigName
			}
			body = append(body, encodeEvent(t, enc, word, pod(name))...)
			want = append(want, word+" "+name)
		}
		for reader, r := range readers(body) {
			var got []string
			events := NewEvents(r, enc)
			event, err := events.Next()
			for ; err == nil; event, err = events.Next() {
				got = append(got, event.Type+" "+nameOf(t, event.Object, enc))
			}
			if err != io.EOF || !equal(got, want) {
				t.Errorf("%s by %s: %.20q, error %v", encoding, reader, got, err)
			}
		}
	}
}

// What has arrived with an event must be known to be there, and what has not must not be waited for.
func TestEventsBuffered(t *testing.T) {
	for encoding, enc := range encodings {
		one := encodeEvent(t, enc, Added, pod("a"))
		first := append(append(bytes.Clone(one), one...), one[:len(one)/2]...)
		events := NewEvents(io.MultiReader(bytes.NewReader(first), bytes.NewReader(one[len(one)/2:])), enc)
		for i, want := range []bool{true, false, false} {
			if _, err := events.Next(); err != nil {
				t.Fatalf("%s: event %d: %v", encoding, i, err)
			}
			if got := events.Buffered(); got != want {
				t.Errorf("%s: after event %d, Buffered is %v", encoding, i, got)
			}
		}
	}
}

func TestEventsBrokenOff(t *testing.T) {
	reset := errors.New("connection reset by peer")
	for encoding, enc := range encodings {
		body := encodeEvent(t, enc, Added, pod("a"))
		for n := 1; n < len(body); n++ {
			if _, err := NewEvents(bytes.NewReader(body[:n]), enc).Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s: after %d bytes of %d: %v", encoding, n, len(body), err)
			}
		}
		// What came before the error counts.
		events := NewEvents(io.MultiReader(bytes.NewReader(body), iotest.ErrReader(reset)), enc)
		if _, err := events.Next(); err != nil {
			t.Errorf("%s: %v", encoding, err)
		}
		if _, err := events.Next(); !errors.Is(err, reset) {
			t.Errorf("%s: %v, want %v", encoding, err, reset)
		}
	}
}

func TestEventsRefused(t *testing.T) {
	for _, frame := range []string{
		"\xff\xff\xff\xff",                                // longer than any object
		"\x00\x00\x00\x02\x0a\x09",                        // a word beyond its frame
		"\x00\x00\x00\x02\x12\x00",                        // no object in the extension
		"\x00\x00\x00\x08\x12\x06\x0a\x04none",            // an object without magic
		"\x00\x00\x00\x04\x0b\x0b\x0b\x0b",                // a group, which nobody sends
		"\x00\x00\x00\x01\xff",                            // a tag that does not end
		"\x00\x00\x00\x0a\x12\x08\x0a\x06k8s\x00\x0a\x05", // a type beyond its envelope
	} {
		if event, err := NewEvents(strings.NewReader(frame), Protobuf).Next(); err == nil || err == io.EOF {
			t.Errorf("%q: %+v, error %v", frame, event, err)
		}
	}
}

func TestStatus(t *testing.T) {
	want := &metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   "Failure", Reason: metav1.StatusReasonExpired, Code: 410, Message: "too old resource version: 1 (7)",
	}
	for encoding, enc := range encodings {
		status, err := Status(encode(t, enc, want), enc)
		if err != nil || status.Code != 410 || status.Reason != want.Reason || status.Message != want.Message {
			t.Errorf("%s: %v, error %v", encoding, status, err)
		}
		event, err := NewEvents(bytes.NewReader(encodeEvent(t, enc, Error, want)), enc).Next()
		if err != nil {
			t.Fatal(err)
		}
		if status, err := event.Status(); event.Type != Error || err != nil || status.Message != want.Message {
			t.Errorf("%s: event %s: %v, error %v", encoding, event.Type, status, err)
		}
		if status, err := Status([]byte("upstream connect error"), enc); err == nil {
			t.Errorf("%s: nonsense is %v", encoding, status)
		}
	}
}

func TestEncodingOf(t *testing.T) {
	for header, want := range map[string]Encoding{
		"application/vnd.kubernetes.protobuf":              Protobuf,
		"application/vnd.kubernetes.protobuf;stream=watch": Protobuf,
		"application/json":                                 JSON,
		"application/json; charset=utf-8":                  JSON,
	} {
		if got, err := EncodingOf(header); err != nil || got != want {
			t.Errorf("%s: %v, error %v", header, got, err)
		}
	}
	for _, header := range []string{"", "text/html", "application/cbor", ";"} {
		if got, err := EncodingOf(header); err == nil {
			t.Errorf("%q: %v", header, got)
		}
	}
}

// A length costs nothing until as many bytes have come.
func TestLengthsAreNotBelieved(t *testing.T) {
	list := "k8s\x00\x12\xff\xff\xff\xff\x0f\x12\x80\x80\x80\x10" // an item of 32 MiB, that does not come
	frame := "\x02\x00\x00\x00"                                   // likewise an event
	var before, after goruntime.MemStats
	goruntime.ReadMemStats(&before)
	NewList(strings.NewReader(list), Protobuf).Next()
	NewEvents(strings.NewReader(frame), Protobuf).Next()
	goruntime.ReadMemStats(&after)
	if bytes := after.TotalAlloc - before.TotalAlloc; bytes > 2*(listBuffer+watchBuffer) {
		t.Errorf("%d bytes were allocated", bytes)
	}
}

func FuzzList(f *testing.F) {
	for _, enc := range encodings {
		f.Add(encodeList(f, enc, "7", "token", "a", "b"), byte(enc))
	}
	f.Fuzz(func(t *testing.T, body []byte, enc byte) {
		size := 0
		list := NewList(bytes.NewReader(body), Encoding(enc&1))
		item, err := list.Next()
		for ; err == nil; item, err = list.Next() {
			size += len(item)
		}
		if size > len(body) {
			t.Errorf("%d bytes of items out of %d", size, len(body))
		}
		if err == io.EOF && list.Version == "" {
			t.Error("a list without a version")
		}
	})
}

func FuzzEvents(f *testing.F) {
	for _, enc := range encodings {
		f.Add(append(encodeEvent(f, enc, Added, pod("a")), encodeEvent(f, enc, Error, &metav1.Status{})...), byte(enc))
	}
	f.Fuzz(func(t *testing.T, body []byte, enc byte) {
		size := 0
		events := NewEvents(iotest.HalfReader(bytes.NewReader(body)), Encoding(enc&1))
		event, err := events.Next()
		for ; err == nil; event, err = events.Next() {
			size += len(event.Object)
			event.Status() // whatever it says
		}
		if size > len(body) {
			t.Errorf("%d bytes of objects out of %d", size, len(body))
		}
	})
}

// readers give body in different portions.
func readers(body []byte) map[string]io.Reader {
	return map[string]io.Reader{
		"all at once":    bytes.NewReader(body),
		"byte for byte":  iotest.OneByteReader(bytes.NewReader(body)),
		"end with data":  iotest.DataErrReader(bytes.NewReader(body)),
		"half of a read": iotest.HalfReader(bytes.NewReader(body)),
	}
}

// drain reads a list to its end or first error, and returns the names of its items.
func drain(l *List, enc Encoding) (names []string, err error) {
	for {
		item, err := l.Next()
		if err != nil {
			return names, err
		}
		var p corev1.Pod
		decode := p.Unmarshal
		if enc == JSON {
			decode = func(b []byte) error { return json.Unmarshal(b, &p) }
		}
		if err := decode(item); err != nil {
			return names, fmt.Errorf("item %d: %w", len(names), err)
		}
		names = append(names, p.Name)
	}
}

func nameOf(t *testing.T, object []byte, enc Encoding) string {
	t.Helper()
	var p corev1.Pod
	var err error
	if enc == JSON {
		err = json.Unmarshal(object, &p)
	} else {
		err = p.Unmarshal(object)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p.Name
}

func equal(a, b []string) bool { return strings.Join(a, "\n") == strings.Join(b, "\n") }

func pod(name string) *corev1.Pod {
	return &corev1.Pod{TypeMeta: metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"}, ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func encodeList(tb testing.TB, enc Encoding, version, next string, names ...string) []byte {
	list := &corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}}
	list.ResourceVersion, list.Continue = version, next
	for _, name := range names {
		list.Items = append(list.Items, *pod(name))
	}
	return encode(tb, enc, list)
}

// encode writes an object as API servers do, with their own encoder.
func encode(tb testing.TB, enc Encoding, o runtime.Object) []byte {
	tb.Helper()
	var body bytes.Buffer
	err := json.NewEncoder(&body).Encode(o)
	if enc == Protobuf {
		body.Reset()
		err = protobuf.NewSerializer(nil, nil).Encode(o, &body)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return body.Bytes()
}

func encodeEvent(tb testing.TB, enc Encoding, word string, o runtime.Object) []byte {
	tb.Helper()
	event := &metav1.WatchEvent{Type: word, Object: runtime.RawExtension{Raw: encode(tb, enc, o)}}
	var body bytes.Buffer
	err := json.NewEncoder(&body).Encode(event)
	if enc == Protobuf {
		body.Reset()
		err = protobuf.NewRawSerializer(nil, nil).Encode(event, protobuf.LengthDelimitedFramer.NewFrameWriter(&body))
	}
	if err != nil {
		tb.Fatal(err)
	}
	return body.Bytes()
}
