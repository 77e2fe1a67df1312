// Package wiretest lets tests write the bytes of DNS messages, right ones and wrong ones, so that a reader can follow.
package wiretest

import (
	"encoding/hex"
	"strconv"
	"strings"
	"testing"
)

// Bytes returns the bytes that text describes, in words between spaces: 'www' is a label with its length before it,
// x60 repeats the word before it until there are 60 of it, and anything else is hexadecimal digits, two a byte.
//
//	1234 0100 0001 0000 0000 0000 'www' 'example' 00 0001 0001
func Bytes(t testing.TB, text string) []byte {
	t.Helper()
	var out, word []byte
	for _, w := range strings.Fields(text) {
		if count, ok := strings.CutPrefix(w, "x"); ok {
			n, err := strconv.Atoi(count)
			if err != nil {
				t.Fatalf("bytes %q: %q is no count", text, w)
			}
			for range n - 1 {
				out = append(out, word...)
			}
			continue
		}
		word = bytesOf(t, w)
		out = append(out, word...)
	}
	return out
}

func bytesOf(t testing.TB, word string) []byte {
	t.Helper()
	if label, ok := strings.CutPrefix(word, "'"); ok {
		label = strings.TrimSuffix(label, "'")
		return append([]byte{byte(len(label))}, label...)
	}
	b, err := hex.DecodeString(word)
	if err != nil {
		t.Fatalf("%q is neither a label nor hexadecimal: %v", word, err)
	}
	return b
}

// Text is the way back, for messages of failed tests: hexadecimal, two bytes a word.
func Text(b []byte) string {
	var words []string
	for len(b) > 2 {
		words = append(words, hex.EncodeToString(b[:2]))
		b = b[2:]
	}
	return strings.Join(append(words, hex.EncodeToString(b)), " ")
}
