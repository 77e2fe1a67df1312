package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/util/flowcontrol"

	"github.com/waypost/waypost/watch/wire"
)

// client sends requests to one API server and keeps to the limits that the user set.
type client struct {
	http    *http.Client
	base    *url.URL
	limiter flowcontrol.RateLimiter // nil: no limit
	slots   chan struct{}           // one place for each request in flight; nil: no limit
	silence time.Duration           // how long a watch may say nothing
	metrics Metrics
}

// How long a server may say nothing. API servers end their own requests after 60 s, and send a bookmark on each watch about
// every minute.
const (
	answerTimeout = 75 * time.Second
	watchTimeout  = 3 * time.Minute
)

var errSilent = errors.New("the API server has said nothing for too long")

// close gives up the connections.
func (c *client) close() { utilnet.CloseIdleConnectionsFor(c.http.Transport) }

// answer is a response that succeeded. Reading it fails when nothing comes for too long. It must be closed.
type answer struct {
	io.Reader
	encoding wire.Encoding
	Close    func()
}

// list asks for a list. It is in flight until the answer is closed.
func (c *client) list(ctx context.Context, res *resource, query url.Values) (*answer, error) {
	begun, release, err := c.admit(ctx)
	if err != nil {
		return nil, err
	}
	a, err := c.get(ctx, res, query, answerTimeout)
	done := func() {
		c.metrics.Requested(http.MethodGet, c.base.Host, time.Since(begun))
		release()
	}
	if err != nil {
		done()
		return nil, err
	}
	closeBody := a.Close
	a.Close = func() { closeBody(); done() }
	return a, nil
}

// watch asks for a watch. It is in flight until the server has answered: the stream that follows does not count, else as
// many watches as are allowed would keep everything else from being asked.
func (c *client) watch(ctx context.Context, res *resource, query url.Values) (*answer, error) {
	_, release, err := c.admit(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return c.get(ctx, res, query, c.silence)
}

// admit waits until the limits allow one more request.
func (c *client) admit(ctx context.Context) (begun time.Time, release func(), err error) {
	if c.limiter == nil {
		c.metrics.RateLimited(http.MethodGet, c.base.Host, 0)
	} else {
		asked := time.Now()
		if err := c.limiter.Wait(ctx); err != nil {
			return time.Time{}, nil, err
		}
		c.metrics.RateLimited(http.MethodGet, c.base.Host, time.Since(asked))
	}
	if c.slots == nil {
		return time.Now(), func() {}, nil
	}
	select {
	case c.slots <- struct{}{}:
		return time.Now(), func() { <-c.slots }, nil
	case <-ctx.Done():
		return time.Time{}, nil, ctx.Err()
	}
}

// get sends one request. Once the answer has begun, it may pause for as long as patience says.
func (c *client) get(ctx context.Context, res *resource, query url.Values, patience time.Duration) (*answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	guard := &silenceGuard{patience: patience, ctx: ctx}
	guard.timer = time.AfterFunc(answerTimeout, func() { cancel(errSilent) })
	stop := func() { guard.timer.Stop(); cancel(nil) }
	resp, err := c.do(ctx, res, query)
	if err != nil {
		stop()
		return nil, guard.explain(err)
	}
	var enc wire.Encoding
	if resp.StatusCode != http.StatusOK {
		err = statusError(resp, res)
	} else {
		enc, err = wire.EncodingOf(resp.Header.Get("Content-Type"))
	}
	if err != nil {
		resp.Body.Close()
		stop()
		return nil, err
	}
	guard.timer.Stop()
	guard.body = resp.Body
	return &answer{Reader: guard, encoding: enc, Close: func() { stop(); resp.Body.Close() }}, nil
}

func (c *client) do(ctx context.Context, res *resource, query url.Values) (*http.Response, error) {
	u := c.base.JoinPath(res.path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", res.accept)
	resp, err := c.http.Do(req)
	if err != nil {
		c.metrics.Answered("<error>", http.MethodGet, c.base.Host)
		return nil, err
	}
	c.metrics.Answered(strconv.Itoa(resp.StatusCode), http.MethodGet, c.base.Host)
	return resp, nil
}

// silenceGuard fails a read that waits too long.
type silenceGuard struct {
	body     io.Reader
	patience time.Duration
	ctx      context.Context
	timer    *time.Timer // ends ctx, and with it the request
}

// Read implements io.Reader.
func (g *silenceGuard) Read(b []byte) (int, error) {
	g.timer.Reset(g.patience)
	n, err := g.body.Read(b)
	g.timer.Stop()
	return n, g.explain(err)
}

// explain says why the request was ended, where we ended it ourselves.
func (g *silenceGuard) explain(err error) error {
	if err != nil && context.Cause(g.ctx) == errSilent {
		return errSilent
	}
	return err
}

// statusLimit bounds what is read of an answer that is an error, in bytes.
const statusLimit = 64 << 10

// statusError reads an answer that is not a success, as the Status it should be, or as the text a proxy made of it.
func statusError(resp *http.Response, res *resource) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, statusLimit))
	if err != nil {
		return fmt.Errorf("%s, and then: %w", resp.Status, err)
	}
	if enc, err := wire.EncodingOf(resp.Header.Get("Content-Type")); err == nil {
		if status, err := wire.Status(body, enc); err == nil && status.Status == metav1.StatusFailure {
			return &apierrors.StatusError{ErrStatus: *status}
		}
	}
	wait, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	return apierrors.NewGenericServerResponse(resp.StatusCode, "get", res.group, "", string(body), wait, true)
}

// isTooOld reports whether the server does not know what happened since the version asked for, or does not know of that
// version yet: it forgot its past, or it was set back to it. Then only a list without a version helps.
func isTooOld(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) ||
		apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge)
}
