package pac_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// record keeps what is logged: the message of an alert, or msg and err.
type record struct {
	mu    sync.Mutex
	lines []string
}

func (r *record) logger() *slog.Logger                     { return slog.New(r) }
func (r *record) Enabled(context.Context, slog.Level) bool { return true }
func (r *record) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *record) WithGroup(string) slog.Handler            { return r }

func (r *record) Handle(_ context.Context, entry slog.Record) error {
	line := entry.Message
	entry.Attrs(func(a slog.Attr) bool {
		switch {
		case a.Key == "message":
			line = a.Value.String()
		case a.Key == "err":
			line += ": " + fmt.Sprint(a.Value.Any())
		}
		return true
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
	return nil
}

func (r *record) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n")
}
