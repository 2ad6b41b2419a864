package cli

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"unicode"

	"github.com/lmittmann/tint"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/pomerium/pomerium-cli/tunnel"
)

// ui writes to standard error: plain lines for people, or JSON for machines.
// Its methods may be called from many goroutines.
type ui struct {
	out   *lockedWriter
	json  *slog.Logger // nil: people read it
	log   *slog.Logger // for the other packages
	paint painter
	live  bool // a terminal, on which a line may be written over
	waits waits

	command *cobra.Command // in whose words hints are; nil: in those of tcp
}

// ui makes the screen when it is first needed: before the flags have been
// parsed if they are wrong.
func (p *program) ui() *ui {
	if p.screen == nil {
		p.screen = newUI(p.Stderr, p.logFormat == "json", p.level(), p.Getenv)
		p.screen.command = p.command
	}
	return p.screen
}

func newUI(w io.Writer, asJSON bool, level slog.Level, getenv func(string) string) *ui {
	u := &ui{out: &lockedWriter{w: w, screen: isTerminal(w)}}
	if asJSON {
		u.log = slog.New(slog.NewJSONHandler(u.out, &slog.HandlerOptions{Level: level}))
		// What we say ourselves is said at every level.
		u.json = slog.New(slog.NewJSONHandler(u.out, nil))
		return u
	}
	u.live = u.out.screen && getenv("TERM") != "dumb"
	u.paint = painter(u.live && getenv("NO_COLOR") == "")
	options := &tint.Options{Level: level, TimeFormat: "15:04:05.000", NoColor: !bool(u.paint)}
	if level >= slog.LevelInfo {
		options.ReplaceAttr = plain
	}
	u.log = slog.New(tint.NewTextHandler(u.out, options))
	return u
}

// plain leaves the time and the everyday level out of records: they are for
// those who look for a fault.
func plain(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	if a.Key == slog.TimeKey || a.Key == slog.LevelKey && a.Value.Any() == slog.LevelInfo {
		return slog.Attr{}
	}
	return a
}

// checkLogging refuses what --log-format, --log-level and LOG_LEVEL do not take.
func (p *program) checkLogging() error {
	if p.logFormat != "text" && p.logFormat != "json" {
		bad := p.logFormat
		p.logFormat = "text"
		return usagef("--log-format %q: not text or json", bad)
	}
	name, value := "--log-level", p.logLevel
	if value == "" {
		name, value = "LOG_LEVEL", p.Getenv("LOG_LEVEL")
	}
	if _, ok := levels[strings.ToLower(value)]; !ok {
		return usagef("%s %q: not debug, info, warn or error", name, value)
	}
	return nil
}

// levels are the names of log levels, with those that the existing client's
// logger knows.
var levels = map[string]slog.Level{
	"":        slog.LevelInfo,
	"trace":   slog.LevelDebug,
	"debug":   slog.LevelDebug,
	"info":    slog.LevelInfo,
	"warn":    slog.LevelWarn,
	"warning": slog.LevelWarn,
	"error":   slog.LevelError,
}

func (p *program) level() slog.Level {
	value := p.logLevel
	if value == "" {
		value = p.Getenv("LOG_LEVEL")
	}
	return levels[strings.ToLower(value)]
}

// Listening says where local programs can connect now. Scripts wait for it.
func (u *ui) Listening(addr, destination string, several bool) {
	if u.json != nil {
		u.json.Info("listening", "addr", addr, "destination", destination)
		return
	}
	line := "listening on " + addr
	if several {
		line += " for " + destination
	}
	u.line(line)
}

// Notice says something that is no failure but that the user should know.
func (u *ui) Notice(msg string, attrs ...any) {
	if u.json != nil {
		u.json.Warn(msg, attrs...)
		return
	}
	u.line(u.paint.yellow("note:") + " " + msg)
}

// Done says what was done, where that is not data.
func (u *ui) Done(msg string, attrs ...any) {
	if u.json != nil {
		u.json.Info(msg, attrs...)
		return
	}
	u.line(msg)
}

// SignIn shows where to sign in. It is printed also when a browser was opened:
// that may be on a screen where nobody sits.
func (u *ui) SignIn(url string) {
	if u.json != nil {
		u.json.Info("sign in", "url", url)
		return
	}
	u.line("sign in at " + u.paint.bold(url))
}

// Failed tells of one tunnel that failed while its listener goes on.
func (u *ui) Failed(destination string, err error) {
	if tunnel.Lost(err) {
		return // told once for the connection, not for each of its tunnels
	}
	hint := u.hint(err)
	if u.json != nil {
		u.json.Error("tunnel failed", withHint(hint, "destination", destination, "err", err.Error())...)
		return
	}
	line := u.paint.red("error:") + " " + destination + ": " + oneLine(err.Error())
	if hint != "" {
		line += u.paint.dim(" (hint: " + hint + ")")
	}
	u.line(line)
}

// Fatal tells why the program ends, and what to do.
func (u *ui) Fatal(err error) {
	hint := u.hint(err)
	if u.json != nil {
		u.json.Error("failed", withHint(hint, "err", err.Error(), "exit", exitCode(err))...)
		return
	}
	u.line(u.paint.red("error:") + " " + oneLine(err.Error()))
	if hint != "" {
		u.line(u.paint.dim("hint: " + hint))
	}
}

// hint is the remedy in the words of the command that runs: most take the server
// as an argument, and know no flag for it.
func (u *ui) hint(err error) string {
	text := hintFor(err)
	if u.command != nil && u.command.Flags().Lookup("pomerium-url") == nil {
		text = strings.ReplaceAll(text, "--pomerium-url", "the server's URL")
	}
	return text
}

func withHint(hint string, attrs ...any) []any {
	if hint == "" {
		return attrs
	}
	return append(attrs, "hint", hint)
}

// Hold keeps what is said off the screen while a person is typing there.
func (u *ui) Hold() (done func()) {
	u.out.hold()
	return u.out.release
}

func (u *ui) line(s string) { _, _ = io.WriteString(u.out, s+"\n") }

// oneLine keeps what others sent us from drawing on the user's terminal, and from
// turning a line around there (UAX #9).
func oneLine(s string) string {
	s = strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ") // errors.Join breaks lines
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t', r == '\u2028', r == '\u2029':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, s)
}

// painter colours words, when true.
type painter bool

func (p painter) red(s string) string    { return p.wrap("31", s) }
func (p painter) green(s string) string  { return p.wrap("32", s) }
func (p painter) yellow(s string) string { return p.wrap("33", s) }
func (p painter) cyan(s string) string   { return p.wrap("36", s) }
func (p painter) bold(s string) string   { return p.wrap("1", s) }
func (p painter) dim(s string) string    { return p.wrap("2", s) }

func (p painter) wrap(code, s string) string {
	if !p || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// lockedWriter lets one line at a time through, and keeps a status line below
// the others where there is one.
type lockedWriter struct {
	mu   sync.Mutex
	w    io.Writer
	last string // the status line that is on the screen

	screen bool          // w is a terminal
	held   *bytes.Buffer // what waits until a person has typed; nil: nobody types
}

// maxHeld bounds what waits, in bytes: the rest is written as it comes.
const maxHeld = 64 << 10

// eraseLine takes the cursor to the beginning of its line and clears it.
const eraseLine = "\r\x1b[K"

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held != nil && l.held.Len()+len(p) <= maxHeld {
		return l.held.Write(p)
	}
	if l.held == nil && l.last != "" {
		_, _ = io.WriteString(l.w, eraseLine)
		defer func() { _, _ = io.WriteString(l.w, l.last) }()
	}
	return l.w.Write(p)
}

// status replaces the status line; "" takes it away.
func (l *lockedWriter) status(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil && (l.last != "" || s != "") {
		_, _ = io.WriteString(l.w, eraseLine+s)
	}
	l.last = s
}

func (l *lockedWriter) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.screen {
		return
	}
	if l.last != "" {
		_, _ = io.WriteString(l.w, eraseLine)
	}
	l.held = new(bytes.Buffer)
}

// release writes what waited, and the status line of now.
func (l *lockedWriter) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held != nil {
		_, _ = l.w.Write(l.held.Bytes())
		_, _ = io.WriteString(l.w, l.last)
		l.held = nil
	}
}
