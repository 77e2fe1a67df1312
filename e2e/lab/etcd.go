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
