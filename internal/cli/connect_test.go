package cli_test

import (
	"bytes"
	"net/url"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/cli"
	"github.com/pomerium/pomerium-cli/internal/portal"
)

// A tunnel to a route of the list may not lead to its own listener, either.
func TestConnectLoop(t *testing.T) {
	w := newWorld(t)
	way, err := url.Parse(w.ProxyURL("http"))
	if err != nil {
		t.Fatal(err)
	}
	r := &run{env: map[string]string{"POMERIUM_SERVICE_ACCOUNT": w.Token()}}
	r.main(t, w.ask("routes connect", w.EdgeURL().String(), "echo", "lab:7", "--listen", way.Host)...)
	if r.code != 2 || !strings.Contains(r.stderr, "would be this listener itself") {
		t.Errorf("exit code %d, %s", r.code, r.stderr)
	}
}

// What a server writes into its list stays in its line.
func TestPrintRoutes(t *testing.T) {
	const bad = "x\nid: y\x1b[2J"
	var out bytes.Buffer
	if err := cli.PrintRoutes(&out, []portal.Route{{ID: bad, Name: bad, Type: bad, From: bad, Description: bad, ConnectCommand: bad}}); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); strings.Count(got, "\n") != 7 || strings.Contains(got, "\x1b") {
		t.Errorf("%q", got)
	}
}
