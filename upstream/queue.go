package upstream

import "time"

// queue holds questions in the order of their deadlines. All wait for the same time, so that it is the order in which they
// were asked.
type queue struct {
	first, last *pending
	once, twice *pending // the first one that has been sent only once; the first one that has been sent at most twice
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
	if q.twice == nil {
		q.twice = p
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
	if q.twice == p {
		q.twice = p.next
	}
	p.prev, p.next, p.queued = nil, nil, false
}

// again takes the questions that are to be sent once more for sent, and returns them: those that were asked longer than
// patience ago and have been sent once, and those that were asked longer than thrice that ago and have been sent twice.
func (q *queue) again(now time.Time, patience time.Duration) []*pending {
	var list []*pending
	take := func(cursor **pending, after time.Duration) {
		for p := *cursor; p != nil && now.Sub(p.asked) >= after; p = *cursor {
			p.repeated = true
			list = append(list, p)
			*cursor = p.next
		}
	}
	take(&q.once, patience)
	take(&q.twice, secondPatience*patience)
	return list
}

// secondPatience is how many times as long after it was asked a question is sent for the third time as it was for the
// second: the time between them doubles.
const secondPatience = 3

// due is when again has something to return, the zero time if it never has.
func (q *queue) due(patience time.Duration) time.Time {
	var at time.Time
	if q.twice != nil {
		at = q.twice.asked.Add(secondPatience * patience)
	}
	if q.once != nil {
		if first := q.once.asked.Add(patience); at.IsZero() || first.Before(at) {
			at = first
		}
	}
	return at
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
