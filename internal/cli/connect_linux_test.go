package cli_test

import (
	"context"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
)

// chooser is a person in front of routes connect, who sees the list.
func (w *world) chooser(t *testing.T) (r *run, p *person, screen *os.File, stop, wait func()) {
	t.Helper()
	screen, eyes := terminal(t)
	r = &run{env: map[string]string{"POMERIUM_SERVICE_ACCOUNT": w.Token()}, terminal: again(screen)}
	p = sit(t, eyes)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	wait = r.start(t, ctx, screen, w.ask("routes connect", w.EdgeURL().String())...)
	return r, p, screen, cancel, wait
}

// TestConnectByNumber: a person makes the list shorter, chooses a number, and
// has the tunnel.
func TestConnectByNumber(t *testing.T) {
	w := newWorld(t)
	r, p, _, stop, wait := w.chooser(t)
	p.sees("      http  web")
	p.sees("search for: ")
	p.types("no such words")
	p.sees("\nno route has these words; an empty line shows all\r\n")
	p.sees("search for: ")
	p.types("lab")
	p.sees("search for: ")
	number := regexp.MustCompile(`(\d+)  tcp   echo `).FindStringSubmatch(p.seen.String())
	if number == nil {
		t.Fatal(p.seen.String())
	}
	p.types("99")
	p.sees("no route has these words")
	p.sees("search for: ")
	p.types("lab")
	p.sees("search for: ")
	p.types(number[1])
	p.sees("listening on ")
	start := p.seen.Len()
	p.sees("\n")
	said := p.seen.String()
	addr := strings.TrimSpace(said[start:])
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	defer c.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	c.Close()
	stop()
	wait()
	if r.code != 0 || r.stdout != "" {
		t.Errorf("exit code %d, %q: %s", r.code, r.stdout, p.seen.String())
	}
}

// TestConnectEnds: the end of the input and Ctrl-C end the choice, on a line of
// their own, and no tunnel is opened.
func TestConnectEnds(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		end  func(p *person, stop func())
		says string
		code int
	}{
		"Ctrl-D": {func(p *person, _ func()) { p.eyes.WriteString("\x04") }, "nothing was entered", 1},
		"Ctrl-C": {func(_ *person, stop func()) { stop() }, "search for: \r\n", 0}, // what the signal does
	} {
		t.Run(name, func(t *testing.T) {
			r, p, screen, stop, wait := w.chooser(t)
			p.sees("search for: ")
			c.end(p, stop)
			wait()
			screen.WriteString("the end\n")
			p.sees("the end")
			if seen := p.seen.String(); r.code != c.code || r.stdout != "" || !strings.Contains(seen, c.says) || strings.Contains(seen, "listening") || strings.Contains(seen, "for: \x1b") {
				t.Errorf("exit code %d, %q: %q", r.code, r.stdout, seen)
			}
		})
	}
}
