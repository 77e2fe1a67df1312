package main

import (
	"sync"

	"github.com/miekg/dns"
)

// waiting are the questions of a socket that have no answer yet, by their IDs.
type waiting struct {
	mu   sync.Mutex
	next uint16
	by   map[uint16]chan *dns.Msg
}

func newWaiting() *waiting { return &waiting{by: map[uint16]chan *dns.Msg{}} }

// add gives a question an ID that no other one has, and returns where its answer will come from.
func (w *waiting) add(question *dns.Msg) <-chan *dns.Msg {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.next++; w.by[w.next] != nil; w.next++ {
	}
	question.Id = w.next
	answered := make(chan *dns.Msg, 1)
	w.by[question.Id] = answered
	return answered
}

func (w *waiting) remove(question *dns.Msg) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.by, question.Id)
}

func (w *waiting) deliver(answer *dns.Msg) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if answered := w.by[answer.Id]; answered != nil && len(answered) == 0 {
		answered <- answer
	}
}
