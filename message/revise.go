package message

import "slices"

// Revision is what a step has to say about the reply to one query, see Reply.Revisions.
type Revision interface {
	// Revise is called when the reply is complete. Done leaves it as it is now. Next has the steps behind the one that
	// asked for the revision answer once more, to the question as it is now, for which the reply has been begun anew
	// (Reply.Restart), and calls Revise again. Park has Revise called again, with the same reply, where it may wait. Drop
	// sends nothing.
	Revise(q *Query, r *Reply) Verdict
}

// First is the query as the client sent it: Original, or q itself where no step has changed it.
func (q *Query) First() *Query {
	if q.Original != nil {
		return q.Original
	}
	return q
}

// Change has to be called before a step changes the question or EDNS: it keeps what the client sent in Original. When the
// name has been changed too, Reply.Restart has to follow.
func (q *Query) Change() {
	if q.Original == nil {
		q.Original = q.Detach()
	}
}

// Rename changes the question's name to a valid one in uncompressed wire form.
func (q *Query) Rename(name []byte) {
	q.Size += len(name) - int(q.nameLen)
	q.setName(name)
}

// Restart begins r anew, in the same buffer, as a reply to q: the query after a step has changed its question, or its
// Original once all is said. What the steps so far have set for good stays, as in Continue, and so does the error.
func (r *Reply) Restart(q *Query) {
	kept := *r
	r.Begin(q, r.buf)
	r.keep(&kept)
	r.Err, r.Unanswered = kept.Err, kept.Unanswered
}

// keep takes over from earlier what steps have set for good.
func (r *Reply) keep(earlier *Reply) {
	r.Shuffle, r.whole, r.own, r.Revisions = earlier.Shuffle, earlier.whole, earlier.own, earlier.Revisions
	if r.query.EDNS.Present {
		r.options = append(r.options, earlier.options...)
		r.room -= len(r.options)
	}
}

// Move makes r what earlier is, in buffers of its own, as a reply to q, which is a copy of the query that the steps have
// at hand. earlier is free to be used again.
func (r *Reply) Move(earlier *Reply, q *Query) {
	*r = *earlier
	if q.Original == nil || earlier.query != q.Original {
		r.query = q
	}
	r.buf, r.options, r.Revisions = slices.Clone(earlier.buf), slices.Clone(earlier.options), slices.Clone(earlier.Revisions)
}

// Announce sets the size in bytes that OPT announces in place of OwnUDPSize, and goes by what q, the reply's query, says
// of the client's by now.
func (r *Reply) Announce(q *Query, size uint16) {
	r.own = size
	r.room = q.Limit()
	if q.EDNS.Present {
		r.room -= optLen + len(r.options)
	}
}

// Wire is the message as it is so far, without OPT, for steps that read it whole. It is valid until the next call.
func (r *Reply) Wire() []byte {
	r.header()
	return r.buf
}

// Question is the question that r replies to, in wire form: name, type and class. It is valid until the next call.
func (r *Reply) Question() []byte { return r.buf[HeaderLen:r.question] }

// DropOption takes back what was added by Option under the code, and reports whether there was anything.
func (r *Reply) DropOption(code uint16) bool {
	kept := dropOption(r.options, code)
	dropped := len(r.options) - len(kept)
	r.options = append(r.options[:0], kept...)
	r.room += dropped
	return dropped > 0
}
