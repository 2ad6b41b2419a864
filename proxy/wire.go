package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/pomerium/pomerium-cli/internal/sock"
)

// readSize is the first buffer for a reply. Nearly all fit; what a reply does
// not use is the beginning of the tunnel.
const readSize = 4 << 10

// A wire is a connection to a proxy while the tunnel is being set up. What has
// been read and not yet understood is in, so that no reader keeps bytes of the
// tunnel to itself.
type wire struct {
	hop  *Hop
	conn net.Conn
	in   []byte
	stop func() bool
	open time.Time
	kept bool // it has carried a whole exchange already
}

// open reaches the proxy.
func (h *Hop) open(ctx context.Context) (*wire, error) {
	conn, err := h.reach(ctx)
	if err != nil {
		return nil, err
	}
	return h.wire(ctx, conn), nil
}

// wire is what conn is until its tunnel is open. The end of ctx breaks off what
// happens on it.
func (h *Hop) wire(ctx context.Context, conn net.Conn) *wire {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	return &wire{hop: h, conn: conn, stop: stop, open: time.Now()}
}

// more reads at least one byte more.
func (w *wire) more() error {
	if len(w.in) == cap(w.in) {
		w.in = append(make([]byte, 0, max(readSize, 2*len(w.in))), w.in...)
	}
	n, err := w.conn.Read(w.in[len(w.in):cap(w.in)])
	w.in = w.in[:len(w.in)+n]
	sock.QuickAck(w.conn)
	if n > 0 {
		return nil // an error comes again, a byte does not
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// take reads exactly n bytes. They are valid until the next call of take or more.
func (w *wire) take(n int) ([]byte, error) {
	for len(w.in) < n {
		if err := w.more(); err != nil {
			return nil, err
		}
	}
	p := w.in[:n]
	w.in = w.in[n:]
	return p, nil
}

// peek makes sure that there is a byte.
func (w *wire) peek() error {
	if len(w.in) > 0 {
		return nil
	}
	return w.more()
}

// Read lets the body of an answer be read behind its header.
func (w *wire) Read(p []byte) (int, error) {
	if err := w.peek(); err != nil {
		return 0, err
	}
	n := copy(p, w.in)
	w.in = w.in[n:]
	return n, nil
}

// opened hands over the connection, with what was read too far, as the tunnel
// that the proxy has agreed to with status.
func (w *wire) opened(ctx context.Context, target string, status int) (net.Conn, error) {
	h := w.hop
	if !w.stop() {
		w.conn.Close()
		return nil, h.fail(ctx, OpConnect, target, net.ErrClosed)
	}
	h.log().DebugContext(ctx, "proxy connected", "hop", h.String(), "target", target, "status", status, "took", time.Since(w.open))
	if len(w.in) == 0 {
		return w.conn, nil
	}
	return &earlyConn{Conn: w.conn, early: w.in}, nil
}

func (w *wire) close() {
	w.stop()
	w.conn.Close()
}

// An earlyConn delivers first what came with the proxy's reply.
type earlyConn struct {
	net.Conn
	early []byte
}

func (c *earlyConn) Read(p []byte) (int, error) {
	if len(c.early) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.early)
	if c.early = c.early[n:]; len(c.early) == 0 {
		c.early = nil // let the buffer go
	}
	return n, nil
}

// CloseWrite ends the direction to the proxy, where the connection can.
func (c *earlyConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// NetConn returns the connection below, for socket options. Reading from it
// would miss the early bytes.
func (c *earlyConn) NetConn() net.Conn { return c.Conn }
