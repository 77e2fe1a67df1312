package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
)

// Etcd is one that is nobody's but a test's.
type Etcd struct {
	*Process
	URL    string       // of the first endpoint
	Client *http.Client // that the endpoint is spoken to by
	args   []string
	dir    string
}

// StartEtcd starts an etcd at an address, with further arguments, and returns it once it answers. The client is nil where
// any will do.
func StartEtcd(ctx context.Context, name, url string, client *http.Client, args ...string) (*Etcd, error) {
	dir, err := os.MkdirTemp(Folder(), name+"-")
	if err != nil {
		return nil, fmt.Errorf("make the folder of %s: %w", name, err)
	}
	if client == nil {
		client = http.DefaultClient
	}
	e := &Etcd{URL: url, Client: client, dir: dir, args: append([]string{
		"--data-dir", filepath.Join(dir, "data"), "--listen-client-urls", url, "--advertise-client-urls", url,
		"--listen-peer-urls", "http://127.0.0.1:0", "--unsafe-no-fsync",
	}, args...)}
	if err := e.Start(ctx, name); err != nil {
		return nil, err
	}
	return e, nil
}

// Start starts it, also again after Stop, with what it had stored, and waits until it answers.
func (e *Etcd) Start(ctx context.Context, name string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if e.Process, err = StartProcess(name, nil, "etcd", e.args...); err != nil {
		return err
	}
	return e.poll(ctx, "wait for "+name, func() error {
		response, err := e.Client.Get(e.URL + "/health") // which asks for no user
		if err == nil {
			response.Body.Close()
		}
		if err == nil && response.StatusCode != http.StatusOK {
			err = errors.New(response.Status)
		}
		return err
	})
}

// Store writes values under keys.
func (e *Etcd) Store(ctx context.Context, values map[string][]byte) error {
	return store(ctx, values, e.Call)
}

// Call calls a method, as "kv/range", with a request in JSON.
func (e *Etcd) Call(ctx context.Context, method, body string, reply any) error {
	return callEtcd(ctx, e.Client, e.URL+"/v3/"+method, body, reply)
}

// Compact makes etcd forget all but the present state, so that whoever was not watching meanwhile is told 410 Gone.
func (c *ControlPlane) Compact(ctx context.Context) error {
	var state struct {
		Header struct {
			Revision string `json:"revision"`
		} `json:"header"`
	}
	if err := c.etcd(ctx, "kv/range", `{"key":"AA=="}`, &state); err != nil {
		return err
	}
	return c.etcd(ctx, "kv/compaction", fmt.Sprintf(`{"revision":%q,"physical":true}`, state.Header.Revision), &state)
}

// storeBatch is how many values go into one transaction; etcd takes 128 at most.
const storeBatch = 100

// Store writes values under keys of etcd's, past the API server, which hears of them as of any change: thousands of objects
// are there in a second.
func (c *ControlPlane) Store(ctx context.Context, values map[string][]byte) error {
	return store(ctx, values, c.etcd)
}

// store writes values by calls of an etcd's methods.
func store(ctx context.Context, values map[string][]byte, call func(ctx context.Context, method, body string, reply any) error) error {
	type put struct {
		Key   []byte `json:"key"`
		Value []byte `json:"value"`
	}
	type operation struct {
		Put put `json:"requestPut"`
	}
	var batch []operation
	send := func() error {
		body, err := json.Marshal(map[string]any{"success": batch})
		if err != nil {
			return fmt.Errorf("etcd txn: %w", err)
		}
		batch = batch[:0]
		var reply struct{}
		return call(ctx, "kv/txn", string(body), &reply)
	}
	for key, value := range values {
		if batch = append(batch, operation{put{[]byte(key), value}}); len(batch) == storeBatch {
			if err := send(); err != nil {
				return err
			}
		}
	}
	if len(batch) == 0 {
		return nil
	}
	return send()
}

// etcd calls a method of the control plane's own.
func (c *ControlPlane) etcd(ctx context.Context, method, body string, reply any) error {
	return callEtcd(ctx, http.DefaultClient, etcdURL+"/v3/"+method, body, reply)
}

// callEtcd calls a method of an etcd by its URL.
func callEtcd(ctx context.Context, client *http.Client, method, body string, reply any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, method, bytes.NewReader([]byte(body)))
	if err != nil {
		return fmt.Errorf("etcd %s: %w", method, err)
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("etcd %s: %w", method, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, text)
	}
	if err == nil {
		err = json.Unmarshal(text, reply)
	}
	if err != nil {
		return fmt.Errorf("etcd %s: %w", method, err)
	}
	return nil
}
