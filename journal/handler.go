package journal

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// LevelFatal is that of the last line before the process gives up.
const LevelFatal = slog.Level(12)

// pluginKey is the attribute that names the directive which speaks.
const pluginKey = "plugin"

// Logger is the logger of the directive called plugin, whose lines begin with "plugin/NAME: "; "" is that of the process
// itself.
func (j *Journal) Logger(plugin string) *slog.Logger {
	logger := slog.New(j.handler())
	if plugin == "" {
		return logger
	}
	return logger.With(pluginKey, plugin)
}

func (j *Journal) handler() slog.Handler {
	if j.format == JSON {
		return slog.NewJSONHandler(j, &slog.HandlerOptions{Level: &j.level, ReplaceAttr: nameFatal})
	}
	return &textHandler{journal: j}
}

// nameFatal gives LevelFatal its name, which slog would print as "ERROR+4".
func nameFatal(groups []string, a slog.Attr) slog.Attr {
	if level, ok := a.Value.Any().(slog.Level); ok && len(groups) == 0 && level == LevelFatal {
		return slog.String(slog.LevelKey, "FATAL")
	}
	return a
}

// textHandler prints records as CoreDNS does. Attributes other than the plugin's name follow the message as key=value.
type textHandler struct {
	journal *Journal
	plugin  string
	attrs   string // already printed, each with a blank before it
	group   string // a prefix of keys, with its final dot
}

// Enabled implements slog.Handler.
func (h *textHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.journal.level.Level()
}

// Handle implements slog.Handler.
func (h *textHandler) Handle(_ context.Context, r slog.Record) error {
	line := append(make([]byte, 0, 256), tag(r.Level)...)
	if h.plugin != "" {
		line = append(append(append(line, "plugin/"...), h.plugin...), ": "...)
	}
	line = append(append(line, r.Message...), h.attrs...)
	r.Attrs(func(a slog.Attr) bool {
		line = appendAttr(line, h.group, a)
		return true
	})
	h.journal.Write(append(line, '\n'))
	return nil
}

// WithAttrs implements slog.Handler.
func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	for _, a := range attrs {
		if a.Key == pluginKey && h.group == "" {
			with.plugin = a.Value.String()
			continue
		}
		with.attrs = string(appendAttr([]byte(with.attrs), h.group, a))
	}
	return &with
}

// WithGroup implements slog.Handler.
func (h *textHandler) WithGroup(name string) slog.Handler {
	with := *h
	with.group += name + "."
	return &with
}

// tag is how CoreDNS's lines begin.
func tag(level slog.Level) string {
	switch {
	case level < slog.LevelInfo:
		return "[DEBUG] "
	case level < slog.LevelWarn:
		return "[INFO] "
	case level < slog.LevelError:
		return "[WARNING] "
	case level < LevelFatal:
		return "[ERROR] "
	}
	return "[FATAL] "
}

// appendAttr prints " key=value", in quotes where the value would not be one word, and a group's members one by one.
func appendAttr(line []byte, group string, a slog.Attr) []byte {
	value := a.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		for _, member := range value.Group() {
			line = appendAttr(line, group+a.Key+".", member)
		}
		return line
	}
	text := value.String()
	if value.Kind() == slog.KindTime {
		text = value.Time().Format(time.RFC3339Nano)
	}
	line = append(append(append(append(line, ' '), group...), a.Key...), '=')
	if text == "" || strings.ContainsAny(text, " \t\r\n\"=") {
		return strconv.AppendQuote(line, text)
	}
	return append(line, text...)
}
