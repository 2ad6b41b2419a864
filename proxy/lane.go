package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
)

// A lane is one connection to a proxy for one request in absolute form that has
// to say who asks: some schemes authenticate the connection, and the pool of
// net/http promises nobody the same one twice.
type lane struct {
	conn net.Conn
	http *http.Transport
}

// errLaneEnds says that the proxy has closed the lane.
var errLaneEnds = errors.New("the proxy closed the connection")

func newLane(conn net.Conn) *lane {
	first := conn
	return &lane{conn: conn, http: &http.Transport{
		Proxy:              absoluteProxy,
		DisableCompression: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			if first == nil {
				return nil, errLaneEnds
			}
			c := first
			first = nil
			return c, nil
		},
	}}
}

// close ends the lane; nil is none.
func (l *lane) close() {
	if l != nil {
		l.conn.Close()
		l.http.CloseIdleConnections()
	}
}

// lead opens a lane for the login, or goes on with the one that is there, and
// waits until the credentials may be sent.
func (h *Hop) lead(ctx context.Context, l *lane, login *login) (*lane, error) {
	ctx, cancel := withLimit(ctx, h.Timeout)
	defer cancel()
	if l == nil {
		conn, err := h.reach(ctx)
		if err != nil {
			return nil, err
		}
		l = newLane(conn)
		if err := login.on(ctx, conn, false); err != nil {
			return l, err
		}
	}
	return l, login.admit(ctx)
}

// send makes the request with the header fields of the hop, and with the
// credentials of the login, if any.
func send(t *http.Transport, req *http.Request, login *login) (*http.Response, error) {
	out := req.Clone(req.Context())
	login.hop.extend(out.Header)
	if credentials := login.take(); credentials != "" {
		out.Header.Set("Proxy-Authorization", credentials)
	}
	return t.RoundTrip(out)
}

// extend adds the header fields of the hop to those of a request in absolute
// form. The proxy passes them on to the server (RFC 9110 7.6), so what the request
// says there stays as it is; but not User-Agent, by which proxies choose whom they
// serve.
func (h *Hop) extend(header http.Header) {
	for name, values := range h.Header {
		name = http.CanonicalHeaderKey(name)
		if header[name] == nil || name == "User-Agent" {
			header[name] = values
		}
	}
}

// hand gives the response to the caller; the lane ends with its body.
func (l *lane) hand(resp *http.Response) *http.Response {
	if l != nil {
		resp.Body = &laneBody{resp.Body, l}
	}
	return resp
}

type laneBody struct {
	io.ReadCloser
	lane *lane
}

func (b *laneBody) Close() error {
	err := b.ReadCloser.Close()
	b.lane.close()
	return err
}
