package watch

import (
	"log/slog"

	"k8s.io/klog/v2"
)

// LogTo sends the lines that client-go logs on its own account, which go to standard error otherwise, to a logger. It holds
// for the whole process, as client-go's logger does.
func LogTo(log *slog.Logger) { klog.SetSlogLogger(log) }
