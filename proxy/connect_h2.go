package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/pomerium/pomerium-cli/internal/h2connect"
)

// A seat is a place for one tunnel on a shared HTTP/2 connection: a CONNECT
// stream (RFC 9113 8.5).
type seat struct {
	hop    *Hop
	on     *carrier
	stale  bool // the connection was idle, so that it may be dead already
	start  time.Time
	stream *h2connect.Stream // once it is open
}

// lineTLS finds or opens where an https proxy is asked.
func (h *Hop) lineTLS(ctx context.Context, login *login) (line, error) {
	c, w, err := h.connectionH2(ctx)
	switch {
	case err != nil:
		return nil, err
	case c == nil:
		return w, w.begin(ctx, login)
	}
	s := &seat{hop: h, on: c, stale: c.Streams() == 0, start: time.Now()}
	if err := login.on(ctx, c.secure, true); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *seat) ask(ctx context.Context, target, credentials string) (*reply, error) {
	stream, answer, err := s.on.Open(ctx, target, s.hop.fields(credentials))
	if err != nil {
		return nil, s.unanswered(err)
	}
	s.stream = stream
	return &reply{
		minor: 1, status: answer.Status, header: answer.Header,
		text: func() ([]byte, bool) { return answer.Body, true },
	}, nil
}

// unanswered says what an error of Open means for the request.
func (s *seat) unanswered(err error) error {
	switch {
	case s.hop.pool.refuses(err):
		s.hop.insistHTTP1()
		return &missed{err, true}
	case h2connect.Unprocessed(err):
		s.hop.pool.limited(s.on.MaxStreams())
		return &missed{err, true}
	case h2connect.Lost(err) && s.stale:
		return &missed{err, false}
	case errors.Is(err, h2connect.ErrCut):
		return fmt.Errorf("the proxy closed the connection without an answer: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// next says whether the same connection may be asked again: not when what it was
// answered needs one of its own.
func (s *seat) next(*reply) bool { return !s.hop.pool.insists() }

func (s *seat) opened(ctx context.Context, target string, status int) (net.Conn, error) {
	h := s.hop
	h.pool.carried()
	h.log().DebugContext(ctx, "proxy connected", "hop", h.String(), "target", target, "status", status, "took", time.Since(s.start))
	return &streamConn{stream: s.stream, hop: h, on: s.on, target: target}, nil
}

func (s *seat) close() { s.hop.pool.leave(s.on) }

// fields is the header of a CONNECT over HTTP/2, without what is for one
// connection (RFC 9113 8.2.2).
func (h *Hop) fields(credentials string) http.Header {
	header := http.Header{"User-Agent": {userAgent}}
	for name, values := range h.Header {
		switch name = http.CanonicalHeaderKey(name); name {
		case "Connection", "Proxy-Connection", "Keep-Alive", "Upgrade", "Te":
		default:
			header[name] = values
		}
	}
	if credentials != "" {
		header["Proxy-Authorization"] = []string{credentials}
	}
	return header
}
