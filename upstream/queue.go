package upstream

import "time"

// queue holds questions in the order of their deadlines. All wait for the same time, so that it is the order in which they
// were asked.
type queue struct{ first, last *pending }

// push appends a question and reports whether it is the only one.
func (q *queue) push(p *pending) bool {
	p.queued, p.prev = true, q.last
	if q.last == nil {
		q.first = p
	} else {
		q.last.next = p
	}
	q.last = p
	return q.first == p
}

// remove takes a question out, if it is in the queue.
func (q *queue) remove(p *pending) {
	if !p.queued {
		return
	}
	if p.prev == nil {
		q.first = p.next
	} else {
		p.prev.next = p.next
	}
	if p.next == nil {
		q.last = p.prev
	} else {
		p.next.prev = p.prev
	}
	p.prev, p.next, p.queued = nil, nil, false
}

// before takes out those whose deadline is not after now.
func (q *queue) before(now time.Time) []*pending {
	var late []*pending
	for q.first != nil && !q.first.deadline.After(now) {
		late = append(late, q.first)
		q.remove(q.first)
	}
	return late
}
