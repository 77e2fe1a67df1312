package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// Compact makes etcd forget all but the present state, so that whoever was not watching meanwhile is told 410 Gone.
func (c *ControlPlane) Compact(ctx context.Context) error {
	var state struct {
		Header struct {
			Revision string `json:"revision"`
		} `json:"header"`
	}
	if err := c.etcd(ctx, "range", `{"key":"AA=="}`, &state); err != nil {
		return err
	}
	return c.etcd(ctx, "compaction", fmt.Sprintf(`{"revision":%q,"physical":true}`, state.Header.Revision), &state)
}

// storeBatch is how many values go into one transaction; etcd takes 128 at most.
const storeBatch = 100

// Store writes values under keys of etcd's, past the API server, which hears of them as of any change: thousands of objects
// are there in a second.
func (c *ControlPlane) Store(ctx context.Context, values map[string][]byte) error {
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
		return c.etcd(ctx, "txn", string(body), &reply)
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

// etcd calls a method of etcd's key-value service.
func (c *ControlPlane) etcd(ctx context.Context, method, body string, reply any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, etcdURL+"/v3/kv/"+method, bytes.NewReader([]byte(body)))
	if err != nil {
		return fmt.Errorf("etcd %s: %w", method, err)
	}
	response, err := http.DefaultClient.Do(request)
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
