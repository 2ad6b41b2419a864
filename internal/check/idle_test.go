package check_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pomerium/pomerium-cli/internal/check"
	"github.com/pomerium/pomerium-cli/proxy"
	"github.com/pomerium/pomerium-cli/tunnel"
)

// nobody has no token.
type nobody struct{}

func (nobody) Current(context.Context) (string, error)       { return "", nil }
func (nobody) Renew(context.Context, string) (string, error) { return "", net.ErrClosed }

// walkPiped walks to an edge in plain text that is serve at the other end of a
// pipe, and returns the step of that name.
func walkPiped(t *testing.T, name string, w check.Walk, serve func(net.Conn)) check.Step {
	t.Helper()
	var edges sync.WaitGroup
	defer edges.Wait()
	dial := func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		edges.Go(func() { // ends when its client closes
			defer far.Close()
			serve(far)
		})
		return near, nil
	}
	w.Edge = &url.URL{Scheme: "http", Host: "127.0.0.1:1"}
	w.Recorder, w.Tokens = &check.Recorder{}, nobody{}
	w.Ways = []proxy.Way{{Direct: dial, Source: "direct"}}
	w.Client = func(way proxy.Way) *tunnel.Client { return &tunnel.Client{Edge: w.Edge, Dial: way.DialContext} }
	_, steps, _ := w.Run(t.Context())
	for _, s := range steps {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no step %s in %+v", name, steps)
	return check.Step{}
}

// answers answers requests, until one comes later than after patience: then it
// closes, at once or when the request comes, or says nothing any more.
func answers(patience time.Duration, dumb bool) func(net.Conn) {
	return func(c net.Conn) {
		in := bufio.NewReader(c)
		for {
			start := time.Now()
			if !dumb {
				c.SetReadDeadline(start.Add(patience))
			}
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			if dumb && time.Since(start) >= patience {
				io.Copy(io.Discard, c)
				return
			}
			req.Body.Close()
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
		}
	}
}

func TestIdle(t *testing.T) {
	for _, tc := range []struct {
		name     string
		patience time.Duration
		dumb     bool
		want     check.Step
	}{
		{"nothing cuts", time.Hour, false, check.Step{State: check.OK, Survived: 240}},
		{"closed", 50 * time.Second, false, check.Step{State: check.Note, Survived: 30, Cut: 50, Closed: true}},
		{"closed at once", 5 * time.Second, false, check.Step{State: check.Note, Cut: 5, Closed: true}},
		{"dropped", 50 * time.Second, true, check.Step{State: check.Note, Survived: 30, Cut: 60}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				got := walkPiped(t, check.StepIdle, check.Walk{Idle: 4 * time.Minute}, answers(tc.patience, tc.dumb))
				if got.State != tc.want.State || got.Survived != tc.want.Survived || got.Cut != tc.want.Cut || got.Closed != tc.want.Closed {
					t.Errorf("got %+v, want %+v", got, tc.want)
				}
				if took := time.Since(start); took > 5*time.Minute {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}
