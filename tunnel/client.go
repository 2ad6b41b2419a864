// Package tunnel opens streams to destinations that a Pomerium edge publishes.
//
// A Client holds the way to one edge. Connect sends CONNECT for a destination
// and returns the stream once the edge has answered 2xx; it signs in on the way
// where Tokens can. Over HTTP/2 tunnels use connections again and, when there
// are many, share them; over HTTP/1.1 each has its own.
//
// The package dials through the function that it is given and never copies
// bytes by itself: a listener and a relay are somebody else's.
package tunnel

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/pomerium/pomerium-cli/internal/edge"
)

// A Stream is an open tunnel. Reading ends with io.EOF only where the
// destination ended it; a cut is an error. CloseWrite passes an end on where
// the transport can carry it (HTTP/2) and does nothing where it would cost the
// reply (HTTP/1.1). Close ends both directions: the destination's side sees a
// cancelled stream unless both had ended.
type Stream interface {
	io.Reader
	io.Writer
	CloseWrite() error
	Close() error
}

// Tokens says who is asking.
type Tokens interface {
	// Current returns the token at hand, "" if there is none.
	Current(ctx context.Context) (string, error)
	// Renew returns a token other than the one that the edge has rejected: a
	// newer one if it is there, else it signs in, once for all callers.
	Renew(ctx context.Context, rejected string) (string, error)
}

// A Client opens tunnels through one edge. Only Edge is required. It is safe
// for concurrent use; the fields must not change after the first Connect.
type Client struct {
	Edge *url.URL // http or https, host and optional port
	// Dial reaches the edge; nil dials directly.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	TLS  *tls.Config // nil: the system's roots; ServerName and NextProtos are filled in
	// Tokens is asked for the credential; nil sends none.
	Tokens Tokens
	// Protocol is "auto" (the default: what the edge picks), "h1" or "h2".
	Protocol string
	// MaxConnections is how many tunnels get an HTTP/2 connection of their own
	// before later ones share; 0 means 16. It never limits the tunnels.
	MaxConnections int
	// KeepAlive is the silence on an HTTP/2 connection with tunnels before a
	// PING; 0 means 20 s, negative never.
	KeepAlive time.Duration
	// Timeout bounds the TLS handshake; 0 means 15 s.
	Timeout time.Duration
	// Spare keeps one connection warm for the next tunnel once one is open.
	Spare bool
	Log   *slog.Logger // nil: no logs

	once sync.Once
	pool *pool
}

const (
	defaultMaxConnections = 16
	defaultTimeout        = 15 * time.Second
	// answerTimeout bounds the wait for the answer to a CONNECT. The edge's own
	// limit, 30 s for authorization and the way to the destination, comes first.
	answerTimeout = 35 * time.Second
	// signIns bounds how often one Connect asks for another token: the first
	// that it gets may be one that another process left, and stale, too.
	signIns = 2
)

// Connect opens a tunnel to destination, a "host:port" that names a route at
// the edge. ctx bounds the opening, not the stream. A refusal is an
// *AnswerError; a failure of the way there is the dialer's error, or an *Error.
func (c *Client) Connect(ctx context.Context, destination string) (Stream, error) {
	c.once.Do(func() { c.pool = newPool(c) })
	var s Stream
	var err error
	done := make(chan struct{})
	// Opening grows a stack that the caller, who may relay for hours, would keep:
	// 4 KiB a tunnel. It has a goroutine of its own, which ends here.
	go func() {
		defer close(done)
		s, err = c.connect(ctx, destination)
	}()
	<-done
	return s, err
}

func (c *Client) connect(ctx context.Context, destination string) (Stream, error) {
	start := time.Now()
	token, err := c.token(ctx)
	if err != nil {
		return nil, err
	}
	for n := 0; ; n++ {
		h := http.Header{}
		edge.SetCredential(h, token)
		s, refusal, err := c.pool.connect(ctx, destination, h)
		if err != nil {
			return nil, err
		}
		if refusal == nil {
			c.debug("tunnel open", "destination", destination, "protocol", s.protocol(), "took", time.Since(start))
			return s, nil
		}
		answer := edge.NewAnswerError(edge.Host(c.Edge), destination, refusal.Status, refusal.Header, refusal.Body)
		if !answer.SignIn() || c.Tokens == nil || n == signIns {
			return nil, answer
		}
		c.debug("sign-in needed", "destination", destination, "status", refusal.Status)
		if token, err = c.Tokens.Renew(ctx, token); err != nil {
			return nil, fmt.Errorf("%w (%w)", err, answer)
		}
	}
}

// Reach dials the edge, finishes the TLS handshake as Connect does, and closes
// the connection: nothing is asked. It is for whoever wants to know how far it
// is. Errors are those of Connect.
func (c *Client) Reach(ctx context.Context) error {
	l := newLinker(c)
	got, err := l.link(ctx, l.tls)
	if err != nil {
		return err
	}
	got.close()
	return nil
}

func (c *Client) token(ctx context.Context) (string, error) {
	if c.Tokens == nil {
		return "", nil
	}
	return c.Tokens.Current(ctx)
}

// Close resets all tunnels and closes all connections.
func (c *Client) Close() error {
	c.once.Do(func() { c.pool = newPool(c) })
	c.pool.close()
	return nil
}

func (c *Client) timeout() time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return defaultTimeout
}

func (c *Client) debug(msg string, args ...any) {
	if c.Log != nil {
		c.Log.Debug(msg, args...)
	}
}
