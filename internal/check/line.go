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
	resp, err := l.get(pingPath, time.Now().Add(limit))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = discard(resp)
	return err
}

// get asks for a page. All of the answer has to come until end.
func (l *line) get(path string, end time.Time) (*http.Response, error) {
	if err := l.SetDeadline(end); err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(l, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\n\r\n", path, l.host, edge.UserAgent); err != nil {
		return nil, err
	}
	return http.ReadResponse(l.in, nil)
}

// discard reads the rest of an answer.
func discard(resp *http.Response) (n int64, err error) {
	n, err = io.Copy(io.Discard, resp.Body)
	if err == nil && resp.Close {
		err = errLineEnds
	}
	return n, err
}

var errLineEnds = errors.New("the edge closes the connection after one answer")

// tripLimit bounds one round trip.
const tripLimit = 15 * time.Second

// noted is a measurement that came to nothing.
func (w *Walk) noted(s Step, err error) Step {
	s.State, s.Error, s.Err = Note, err.Error(), err
	return s
}
