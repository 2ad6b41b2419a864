package check

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/pomerium/pomerium-cli/internal/edge"
	"github.com/pomerium/pomerium-cli/proxy"
)

// pingPath is a page of every edge that needs no session and is two bytes long.
const pingPath = "/ping"

// A line is a connection to the edge on which one request follows the other.
type line struct {
	net.Conn
	host string
	in   *bufio.Reader
}

// open opens a line. The edge speaks HTTP/1.1 on it.
func (w *Walk) open(ctx context.Context, way proxy.Way) (*line, error) {
	conn, err := way.DialContext(ctx, "tcp", w.Edge.Host)
	if err != nil {
		return nil, err
	}
	if w.Edge.Scheme == "https" {
		c := w.TLS.Clone()
		if c == nil {
			c = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		c.ServerName, c.NextProtos = w.Edge.Hostname(), []string{"http/1.1"}
		secure := tls.Client(conn, c)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, fmt.Errorf("edge %s: tls: %w", edge.Host(w.Edge), err)
		}
		conn = secure
	}
	return &line{Conn: conn, host: edge.Host(w.Edge), in: bufio.NewReader(conn)}, nil
}

// trip asks for a page and waits for the answer, whatever that is.
func (l *line) trip(limit time.Duration) error {
	if err := l.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(l, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\n\r\n", pingPath, l.host, edge.UserAgent); err != nil {
		return err
	}
	resp, err := http.ReadResponse(l.in, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, edge.MaxBody)); err != nil {
		return err
	}
	if resp.Close {
		return errLineEnds
	}
	return nil
}

var errLineEnds = errors.New("the edge closes the connection after one answer")

// tripLimit bounds one round trip.
const tripLimit = 15 * time.Second

// trips times round trips on one connection, one after the other.
func (w *Walk) trips(ctx context.Context, way proxy.Way) Step {
	defer w.waiting(StepTrips)()
	s := Step{Name: StepTrips, State: OK, At: w.at()}
	l, err := w.open(ctx, way)
	if err != nil {
		return w.noted(s, err)
	}
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	times := make([]time.Duration, 0, w.Trips)
	for range w.Trips + 1 { // the first has the server look things up
		start := time.Now()
		if err := l.trip(tripLimit); err != nil {
			return w.noted(s, err)
		}
		times = append(times, time.Since(start))
	}
	times = times[1:]
	slices.Sort(times)
	millis := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	s.Trips = &Trips{Count: len(times), Least: millis(times[0]), Median: millis(times[len(times)/2]), Most: millis(times[len(times)-1])}
	return s
}

// noted is a measurement that came to nothing.
func (w *Walk) noted(s Step, err error) Step {
	s.State, s.Error, s.Err = Note, err.Error(), err
	return s
}
