package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// story tells on the screen what happens, in aligned lines. It is a
// slog.Handler as well: the other packages' records of each hop become lines of
// their own, as they happen.
type story struct {
	mu     sync.Mutex
	w      io.Writer
	paint  painter
	silent bool // the hops are not told any more: they are those of spare connections
	signIn bool // what comes now is for the sign-in
}

// say writes whole lines.
func (s *story) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.w, format+"\n", args...)
}

// step begins a chapter.
func (s *story) step(n int, title string) {
	s.say("\n%s", s.paint.bold(fmt.Sprintf("%d. %s", n, title)))
}

// event is something that took a time.
func (s *story) event(took time.Duration, what, detail string) {
	clock := ""
	if took > 0 {
		clock = millis(took)
	}
	s.row(s.paint.cyan(fmt.Sprintf("%10s", clock)), what, detail)
}

// good is something that was checked, and holds.
func (s *story) good(what, detail string) {
	s.row(s.paint.green(fmt.Sprintf("%10s", "ok")), what, detail)
}

// row aligns what happened, after a column of ten that is painted already.
func (s *story) row(first, what, detail string) {
	s.line(first, what, s.paint.dim(detail))
}

func (s *story) line(first, what, detail string) {
	if detail == "" {
		s.say("%s  %s", first, what)
		return
	}
	s.say("%s  %-32s %s", first, what, detail)
}

func millis(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}

// chapters are the records that become lines: the words for each, and which of
// its attributes are shown.
var chapters = map[string]struct {
	words   string
	details []string
}{
	"dialed":          {"reached the forward proxy", []string{"hop"}},
	"proxy tls":       {"TLS with the forward proxy", []string{"version"}},
	"proxy connected": {"the proxy opened a way", []string{"target"}},
	"edge tls":        {"TLS with the edge", []string{"version", "alpn"}},
	"sign-in needed":  {"the edge wants to know who asks", []string{"status"}},
	"signed in":       {"signed in", nil},
	"tunnel open":     {"the tunnel is open", []string{"destination", "protocol"}},
}

// Enabled implements slog.Handler: records of every level are of interest.
func (s *story) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (s *story) Handle(_ context.Context, r slog.Record) error {
	attrs := make(map[string]slog.Value)
	r.Attrs(func(a slog.Attr) bool {
		attrs[a.Key] = a.Value.Resolve()
		return true
	})
	c, known := chapters[r.Message]
	if _, ofHop := attrs["hop"]; r.Message == "dialed" && !ofHop {
		return nil // the socket below the hop, which tells of itself
	}
	silent, signIn := s.follow(r.Message)
	switch {
	case known && (!silent || r.Message == "tunnel open"):
		var details []string
		for _, name := range c.details {
			details = append(details, attrs[name].String())
		}
		if signIn {
			details = append(details, "for the sign-in")
		}
		s.event(duration(attrs["took"]), c.words, strings.Join(details, ", "))
	case r.Level >= slog.LevelWarn:
		s.say("%s  %s %v", s.paint.yellow(fmt.Sprintf("%10s", "note")), r.Message, attrs["err"])
	}
	return nil
}

// follow keeps track of the chapter: a sign-in happens in the middle of opening
// the first tunnel, and once that is open, what is dialed is for later ones.
func (s *story) follow(msg string) (silent, signIn bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	silent, signIn = s.silent, s.signIn
	switch msg {
	case "sign-in needed":
		s.signIn = true
	case "signed in":
		s.signIn, signIn = false, false
	case "tunnel open":
		s.silent = true
	}
	return silent, signIn
}

func duration(v slog.Value) time.Duration {
	if v.Kind() == slog.KindDuration {
		return v.Duration()
	}
	return 0
}

// WithAttrs implements slog.Handler; no package that the demo uses calls it.
func (s *story) WithAttrs([]slog.Attr) slog.Handler { return s }

// WithGroup implements slog.Handler.
func (s *story) WithGroup(string) slog.Handler { return s }
