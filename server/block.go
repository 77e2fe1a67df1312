package server

import "github.com/waypost/waypost/message"

// Block is a compiled server block: the zones that it is asked for and what happens to a query there.
type Block struct {
	Zones []message.Name
	// Takes reports whether a query is the block's; any other goes to the next block with the zone. nil takes all.
	Takes     func(*message.Query) bool
	Label     string     // the first zone as the Corefile's metrics name it, "." or "cluster.local."
	Steps     []Step     // in CoreDNS's order of directives
	Observers []Observer // called in this order with each finished reply
	Last      string     // the last directive of the chain, named in "no next plugin found"; "" refuses every query
	Chaos     bool       // a step answers class CH; every other class but IN is refused before the steps
}

// Step is a directive on a query's way. It answers, passes on, or asks to be called again where it may wait. Steps are
// called from many goroutines at once.
//
// A step that has to see what the others make of the query, or to ask them something else, appends a message.Revision to
// the reply and passes on. The server calls that with the complete reply, before the observers see it, and wherever the
// query has been parked in the meantime. It does without for an answer that it gives up itself: SERVFAIL after a panic,
// or where too many queries are parked.
//
// A step that changes the question calls Query.Change, changes it, and begins the reply anew (Reply.Restart); its revision
// begins it anew once more, as a reply to what the client asked (Query.First).
type Step interface {
	Serve(q *message.Query, r *message.Reply) message.Verdict
}

// Waiter is a step that can wait without a goroutine. After its Serve has said Park, the server does not call that again
// but Wait, with a query and a reply that are the step's until it calls resume: once, from any goroutine or from within
// Wait, with what Serve would have returned. The query goes on in that call, which does not wait for anything.
type Waiter interface {
	Step
	Wait(q *message.Query, r *message.Reply, resume func(message.Verdict))
}

// Observer sees each query of a block with its reply just before that is sent; it changes neither. A reply that the
// server writes because a step only gave a response code has an empty Reply.By.
type Observer interface {
	Observe(q *message.Query, r *message.Reply)
}
