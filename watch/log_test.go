package watch

import (
	"bytes"
	"log/slog"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// TestLogTo: what the API server warns of, client-go logs.
func TestLogTo(t *testing.T) {
	var out bytes.Buffer
	LogTo(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})))
	defer klog.ClearLogger()
	rest.WarningLogger{}.HandleWarningHeader(299, "", "v1 Endpoints is deprecated")
	klog.Flush()
	if got, want := out.String(), "level=INFO msg=\"Warning: v1 Endpoints is deprecated\"\n"; got != want {
		t.Errorf("logged %q, want %q", got, want)
	}
}
