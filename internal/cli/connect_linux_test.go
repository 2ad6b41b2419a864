package cli_test

import (
	"context"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
)

// TestConnectByNumber: a person makes the list shorter, chooses a number, and
// has the tunnel.
func TestConnectByNumber(t *testing.T) {
	w := newWorld(t)
	screen, eyes := terminal(t)
	r := &run{env: map[string]string{"POMERIUM_SERVICE_ACCOUNT": w.Token()}, terminal: again(screen)}
	p := sit(t, eyes)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	wait := r.start(t, ctx, screen, w.ask("routes connect", w.EdgeURL().String())...)
	p.sees("      http  web")
	p.sees("search for: ")
	p.types("lab")
	p.sees("search for: ")
	number := regexp.MustCompile(`(\d+)  tcp   echo `).FindStringSubmatch(p.seen.String())
	if number == nil {
		t.Fatal(p.seen.String())
	}
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
