package etcd

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// client is the store that is an etcd.
type client struct {
	options Options
	log     *slog.Logger

	conn atomic.Pointer[clientv3.Client] // nil until etcd has accepted the credentials
	end  context.CancelFunc
	done chan struct{} // closed when nobody tries to log in
}

const (
	// keepAlive is how often an idle connection is probed, and probeTimeout when one is given up.
	keepAlive    = 10 * time.Second
	probeTimeout = 5 * time.Second
	// retryLogin is how long after one attempt to log in the next one begins.
	retryLogin = time.Second
)

// errNotConnected is returned for what is asked of an etcd that has not been there since the start.
var errNotConnected = errors.New("etcd has not been reached yet, to log in")

// start makes the connection, which comes up when it is used first, or, with credentials, logs in. An etcd that is away is
// tried again until stop.
func (c *client) start(ctx context.Context) error {
	running, end := context.WithCancel(context.Background())
	c.end, c.done = end, make(chan struct{})
	goOn := context.AfterFunc(ctx, end)
	err := c.dial(running)
	if goOn(); !errors.Is(err, context.DeadlineExceeded) {
		close(c.done)
		if err != nil {
			end()
		}
		return err
	}
	c.log.Warn("starting server without etcd, which is away: " + err.Error())
	go c.logIn(running)
	return nil
}

// logIn tries until it succeeds or running ends. It says why it fails, but not again while that is the same.
func (c *client) logIn(running context.Context) {
	defer close(c.done)
	for said := ""; ; {
		select {
		case <-running.Done():
			return
		case <-time.After(retryLogin):
		}
		err := c.dial(running)
		if err == nil || running.Err() != nil {
			return
		}
		if !errors.Is(err, context.DeadlineExceeded) && err.Error() != said {
			said = err.Error()
			c.log.Error(said)
		}
	}
}

// dial makes the connection, and waits for patience at most where it has to log in.
func (c *client) dial(running context.Context) error {
	conn, err := clientv3.New(clientv3.Config{
		Context: running, Endpoints: c.options.Endpoints, TLS: c.options.TLS, Username: c.options.login(), Password: c.options.Password,
		DialTimeout: patience, DialKeepAliveTime: keepAlive, DialKeepAliveTimeout: probeTimeout,
		Logger: zap.NewNop(), // what goes wrong is told by the errors directive, query by query
	})
	if err == nil {
		c.conn.Store(conn)
	}
	return err
}

// login is who logs in, "" for nobody.
func (o *Options) login() string {
	if o.Password == "" {
		return ""
	}
	return o.Username
}

// stop ends the connection.
func (c *client) stop() {
	if c.end == nil {
		return
	}
	c.end()
	<-c.done
	if conn := c.conn.Load(); conn != nil {
		conn.Close()
	}
}

// get implements store.
func (c *client) get(ctx context.Context, key string, prefix bool) ([]entry, error) {
	conn := c.conn.Load()
	if conn == nil {
		return nil, errNotConnected
	}
	var options []clientv3.OpOption
	if prefix {
		options = append(options, clientv3.WithPrefix())
	}
	response, err := conn.Get(ctx, key, options...)
	if err != nil {
		return nil, err
	}
	entries := make([]entry, 0, len(response.Kvs))
	for _, kv := range response.Kvs {
		entries = append(entries, entry{string(kv.Key), kv.Value, kv.Lease})
	}
	return entries, nil
}

// remaining implements store.
func (c *client) remaining(ctx context.Context, lease int64) (int64, error) {
	conn := c.conn.Load()
	if conn == nil {
		return 0, errNotConnected
	}
	response, err := conn.TimeToLive(ctx, clientv3.LeaseID(lease))
	if err != nil {
		return 0, err
	}
	return response.TTL, nil
}
