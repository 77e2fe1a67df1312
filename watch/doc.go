// Package watch tells what a Kubernetes API server knows, as cluster values, first all of it and then what changes. It is
// the one package that imports client-go, and of that only what finds and authenticates a server: no informers, no typed
// clients, no store of API objects.
//
// # The life of a watch
//
// Run follows each kind that is needed (Services, EndpointSlices, ...) in a goroutine of its own, a follower. A follower
// asks for a list, then for a watch of what happens from the list's resourceVersion on, and then for another watch, for
// ever.
//
// The list comes out of the server's cache (resourceVersion=0) and is read as it arrives (package wire): one object at a
// time is decoded, reduced to a cluster value (package fromapi), compared with the value in the store and dropped if it says
// the same, else noted as a change. The sink hears of changes a thousand at a time. When the list has ended, and ended
// whole, values that it did not have are noted as deleted: mark and sweep. The first time, the sink is then told that the
// kind is synced. So a second list costs no more memory than a single object, and the sink hears only of what differs.
//
// The watch is read likewise. Whatever has arrived is handed over at once, as one batch if it came at once; nothing is ever
// delayed to make a batch larger. Bookmarks only move the resourceVersion. After five to ten minutes, at random, the server
// ends a watch as it was asked to, and the next one goes on where it left off.
//
// # What goes wrong
//
// A watch that breaks after it has worked is asked for again at once, from the last resourceVersion: no list is needed. If
// that fails, further tries wait 1 s, 2 s and so on up to 30 s, give or take a half, or as long as the server says in
// Retry-After; up to 4 s only where the connection is refused, as while a server restarts. When one
// follower gets through, the others try too. If the server says that it does not know so old a version any more (410 Gone, as a status or as an ERROR event),
// the follower lists again, in place: the sink keeps what it has, and hears the difference. That list asks for nothing older
// than what is known, since another API server of the cluster may lag behind; only if the server cannot know that version
// (a restored backup) it asks for whatever there is.
//
// Nothing is believed that is not whole. A list that breaks off, has no resourceVersion or is not a list deletes nothing; an
// event that cannot be read leads to a new list. A server that falls silent is noticed: bookmarks come every minute, and a
// watch without a byte for three is followed by a list, since a server that was set back takes a version that it will have
// one day and waits for it; dead connections are found by TCP keep-alive and HTTP/2 pings before that.
// A token file is read again when the server refuses the token.
//
// Objects that the API should never send are skipped, wholly or in part, counted and logged at a bounded rate; the rest goes
// on. Pods that are being deleted keep what was known of them.
package watch
