package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"strconv"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/waypost/waypost/watch/fromapi"
	"github.com/waypost/waypost/watch/wire"
)

// follower keeps the store of one kind true: the life of a watch, as the package comment tells it.
type follower struct {
	client  *client
	res     *resource
	store   *store
	report  *reporter
	retry   backoff
	revival *revival // shared by all followers of a server
	version string   // the resourceVersion up to which the store is true; "" before the first list
	stale   bool     // the store needs a list
	synced  bool     // there has been a list
}

// run follows until ctx ends.
func (f *follower) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := f.round(ctx)
		if err == nil || ctx.Err() != nil {
			continue
		}
		if !f.isExpected(err) {
			f.report.failed(f.res.kind, err)
		}
		wake := f.revival.listen()
		pause, firm := f.pause(err)
		if firm {
			wake = nil
		}
		sleep(ctx, pause, wake)
	}
}

// round lists if it must, and watches until the watch ends. No error means that the next round may begin at once.
func (f *follower) round(ctx context.Context) error {
	if f.stale {
		if err := f.list(ctx); err != nil {
			return fmt.Errorf("failed to list %s: %w", f.res.goType, err)
		}
	}
	if err := f.watch(ctx); err != nil {
		return fmt.Errorf("failed to watch %s: %w", f.res.goType, err)
	}
	return nil
}

// isExpected reports whether err belongs to an ordinary life: a server forgets old versions, though not twice in a row, and may
// be too old for a kind.
func (f *follower) isExpected(err error) bool {
	return f.retry.failures == 0 && isTooOld(err) || f.isMissing(err)
}

// Bounds of the time between two tries. Where nobody listens, as while a server restarts, a try costs nobody anything, and the
// server's return shall be noticed soon; one that says itself when to come back, as API servers do while they fill their caches
// (KEP-4568), is nearly there. maxDelay bounds what a server can make us wait.
const (
	minRetry        = time.Second
	maxRetry        = 30 * time.Second
	maxRefusedRetry = 4 * time.Second
	maxDelay        = time.Minute
)

// pause counts a failure and returns how long to wait before the next try, and whether the server insists on it.
func (f *follower) pause(err error) (pause time.Duration, firm bool) {
	seconds, firm := apierrors.SuggestsClientDelay(err)
	longest := maxRetry
	if firm || errors.Is(err, syscall.ECONNREFUSED) {
		longest = maxRefusedRetry
	}
	pause = f.retry.next(longest)
	return max(pause, min(time.Duration(seconds)*time.Second, maxDelay)), firm
}

// list brings the store up to the present.
func (f *follower) list(ctx context.Context) error {
	version := f.version
	if version == "" {
		version = "0" // whatever the server has in its cache
	}
	err := f.listFrom(ctx, version)
	if isTooOld(err) {
		err = f.listFrom(ctx, "")
	}
	if err == nil {
		f.stale = false
	}
	if !f.synced && (err == nil || f.isMissing(err)) {
		f.synced = true
		f.store.sink.synced(f.res.kind)
	}
	return err
}

// isMissing reports whether err says that the server is too old to have the kind. It may be a newer one the next time.
func (f *follower) isMissing(err error) bool { return f.res.optional && apierrors.IsNotFound(err) }

// pageSize is how many objects a server may send as one answer, where it would have to read them from etcd. What it has in its
// cache it sends at once.
const pageSize = "500"

// listFrom lists what is not older than version; "" is the present.
func (f *follower) listFrom(ctx context.Context, version string) error {
	q := f.res.query()
	if version != "" {
		q.Set("resourceVersion", version)
	}
	if version == "" || version == "0" {
		// With another version a limit would ask for that very version, out of etcd.
		q.Set("limit", pageSize)
	}
	f.store.mark()
	for {
		list, err := f.page(ctx, q)
		if err != nil {
			f.store.flush()
			return err
		}
		if list.Continue == "" {
			f.version = list.Version
			f.store.sweep()
			return nil
		}
		q.Set("continue", list.Continue)
		q.Del("resourceVersion") // the token has it
	}
}

func (f *follower) page(ctx context.Context, q url.Values) (*wire.List, error) {
	a, err := f.client.list(ctx, f.res, q)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	list := wire.NewList(a, a.encoding)
	for {
		item, err := list.Next()
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		// An object that cannot be read has no name to go by: it counts as gone.
		r, err := f.res.reduce(item, a.encoding)
		if err != nil {
			f.report.skipped(f.res.kind, err)
			continue
		}
		f.learn(r)
	}
}

// learn brings one object as it is now into the store.
func (f *follower) learn(r reduced) {
	switch {
	case r.flaw == fromapi.ErrTerminating:
		f.store.keep(r.key)
		return
	case r.flaw != nil && r.flaw != fromapi.ErrFinished:
		f.report.skipped(f.res.kind, r.flaw)
	}
	if r.value == nil {
		f.store.remove(r.key)
		return
	}
	f.store.put(r.value)
}

// watch follows from f.version on until the stream ends. A stream that worked has not failed, however it ended.
func (f *follower) watch(ctx context.Context) error {
	a, err := f.client.watch(ctx, f.res, f.watchQuery())
	if err != nil {
		f.stale = isTooOld(err)
		return err
	}
	defer a.Close()
	if f.retry.failures > 1 {
		f.revival.announce()
	}
	begun := time.Now()
	err = f.hear(wire.NewEvents(a, a.encoding))
	f.store.flush()
	if errors.Is(err, errSilent) {
		// A server that was set back takes a version of its future, and has nothing to say until it gets there. Asked for a list, it
		// says that it does not know it.
		f.stale = true
	}
	lasted := time.Since(begun)
	if lasted > longWatch || lasted > shortWatch && !f.stale {
		f.retry.reset()
	}
	switch {
	case lasted > shortWatch && !f.stale:
		return nil
	case err == io.EOF:
		return errShortWatch
	}
	return err
}

// A watch that lasted longer than shortWatch did its work, however it ended. One that led to a new list must have lasted longer
// than longWatch: lists are dear, and nothing shall make us ask for one after the other.
const (
	shortWatch = time.Second
	longWatch  = time.Minute
)

var errShortWatch = errors.New("the server ended the watch within a second")

// Bounds of the time after which a server ends a watch, in seconds. It is chosen at random, so that not all watches of all
// replicas are begun anew at once.
const (
	minWatchSeconds = 300
	maxWatchSeconds = 600
)

func (f *follower) watchQuery() url.Values {
	q := f.res.query()
	q.Set("watch", "true")
	q.Set("resourceVersion", f.version)
	q.Set("allowWatchBookmarks", "true")
	q.Set("timeoutSeconds", strconv.Itoa(minWatchSeconds+rand.N(maxWatchSeconds-minWatchSeconds+1)))
	return q
}

// hear learns one event after the other until the stream ends, and tells the sink before it waits for more.
func (f *follower) hear(events *wire.Events) error {
	for {
		event, err := events.Next()
		if err != nil {
			return err
		}
		if err := f.event(&event); err != nil {
			return err
		}
		if !events.Buffered() {
			f.store.flush()
		}
	}
}

// event learns one event. After an error the store needs a list, unless the server says that it is only busy.
func (f *follower) event(event *wire.Event) error {
	if event.Type == wire.Error {
		return f.failed(event)
	}
	r, err := f.res.reduce(event.Object, event.Encoding)
	if err != nil {
		f.stale = true
		return err
	}
	switch event.Type {
	case wire.Added, wire.Modified:
		f.learn(r)
	case wire.Deleted:
		f.store.remove(r.key)
	case wire.Bookmark:
	default:
		f.stale = true
		return fmt.Errorf("event of type %q", event.Type)
	}
	if r.version != "" {
		f.version = r.version
	}
	return nil
}

// failed reads the event that ends a watch.
func (f *follower) failed(event *wire.Event) error {
	status, err := event.Status()
	if err != nil {
		f.stale = true
		return err
	}
	err = &apierrors.StatusError{ErrStatus: *status}
	f.stale = isTooOld(err)
	return err
}
