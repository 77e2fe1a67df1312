package upstream

import "time"

// queue holds questions in the order of their deadlines. All wait for the same time, so that it is the order in which they
// were asked.
type queue struct {
	first, last *pending
	once        *pending // the first one that has been sent only once
}

// push appends a question and reports whether it is the only one.
func (q *queue) push(p *pending) bool {
	p.queued, p.prev = true, q.last
	if q.last == nil {
		q.first = p
	} else {
		q.last.next = p
	}
	q.last = p
	if q.once == nil {
		q.once = p
	}
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
	if q.once == p {
		q.once = p.next
	}
	p.prev, p.next, p.queued = nil, nil, false
}

// again takes the questions that were asked before a time, and have been sent only once, for sent twice, and returns them.
func (q *queue) again(before time.Time) []*pending {
	var list []*pending
	for ; q.once != nil && !q.once.asked.After(before); q.once = q.once.next {
		q.once.twice = true
		list = append(list, q.once)
	}
	return list
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
