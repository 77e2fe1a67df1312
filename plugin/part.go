package plugin

import (
	"context"
	"crypto/sha512"
	"fmt"
	"os"
	"slices"
)

// part is something of a Setup that has a life: it watches a cluster, holds sockets, keeps replies. Its key says what it
// was made from. A Setup that wants a part which the one before it has already, by the key, takes that one over as it is,
// so that what did not change in a Corefile goes on over a reload as if nothing had happened.
type part struct {
	key     string // "" for one that is made anew each time
	value   any    // implements what it needs of starter, drainer and stopper
	running bool
	// tolerate, if not nil, is told why the part could not be started; all goes on without it then.
	tolerate func(error)
}

type starter interface {
	Start(context.Context) error
}

type drainer interface{ Drain(context.Context) }

type stopper interface{ Stop() }

// have adds a part to a Setup: the one that the Setup before it has under the key, or else a new one. kept says which.
// Among several under one key each is taken over once, in their order.
func have[T any](s *Setup, key string, create func() (T, error)) (value T, kept bool, err error) {
	if p := s.former(key); p != nil {
		s.parts = append(s.parts, p)
		return p.value.(T), true, nil
	}
	if value, err = create(); err != nil {
		return value, false, err
	}
	s.parts = append(s.parts, &part{key: key, value: value})
	return value, false, nil
}

// former is a part of the Setup before this one that can be taken over, nil if there is none.
func (s *Setup) former(key string) *part {
	if key == "" || s.before == nil {
		return nil
	}
	for _, p := range s.before.parts {
		if p.key == key && p.running && !slices.Contains(s.parts, p) {
			return p
		}
	}
	return nil
}

// start starts a part that is not running already.
func (p *part) start(ctx context.Context) error {
	v, ok := p.value.(starter)
	if !ok || p.running {
		p.running = true
		return nil
	}
	err := v.Start(ctx)
	if p.running = err == nil; err != nil && p.tolerate != nil {
		p.tolerate(err)
		return nil
	}
	return err
}

// stop stops a part that is running.
func (p *part) stop() {
	if v, ok := p.value.(stopper); ok && p.running {
		v.Stop()
	}
	p.running = false
}

// key makes the key of a part of what tells it from others: the directive, what that means, and what is in the files that
// are read only when the part is made. It is empty, for a part that is made anew each time, if the meaning is, or if a
// file cannot be read.
func key(directive, meaning string, files ...string) string {
	if meaning == "" {
		return ""
	}
	k := directive + " " + meaning
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return ""
		}
		k += fmt.Sprintf(" %x", sha512.Sum512(text))
	}
	return k
}
