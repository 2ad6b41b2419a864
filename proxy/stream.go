package proxy

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pomerium/pomerium-cli/internal/h2connect"
	"github.com/pomerium/pomerium-cli/internal/sock"
)

// leavePatience is how long a proxy has to end its side of a tunnel that was
// closed here.
const leavePatience = 2 * time.Second

// A streamConn is a tunnel on a shared connection. It holds no buffer while it
// is idle, and sock.Conn polls it like a socket. A wait for the socket that all
// share, which is full only if the proxy does not read it, ends with that
// connection alone: the PING notices.
type streamConn struct {
	stream  *h2connect.Stream
	hop     *Hop
	on      *carrier
	target  string
	in, out deadline
	writing sync.Mutex
	closed  atomic.Bool
}

// Read implements net.Conn.
func (c *streamConn) Read(p []byte) (int, error) {
	for {
		if c.in.over() {
			return 0, c.why(h2connect.ErrStopped)
		}
		n, err := c.TryRead(p)
		if err != sock.ErrWouldBlock {
			return n, err
		}
		if err := c.WaitRead(); err != nil {
			return 0, err
		}
	}
}

// TryRead implements sock.Pollable.
func (c *streamConn) TryRead(p []byte) (int, error) {
	if c.closed.Load() {
		return 0, net.ErrClosed
	}
	n, err := c.stream.TryRead(p)
	return n, c.why(err)
}

// WaitRead implements sock.Pollable.
func (c *streamConn) WaitRead() error { return c.why(c.stream.WaitRead(c.in.passed())) }

// Write implements net.Conn. It waits for the proxy's windows.
func (c *streamConn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.out.over() {
		return 0, c.why(h2connect.ErrStopped)
	}
	n, err := c.stream.WriteUntil(c.out.passed(), p)
	return n, c.why(err)
}

// CloseWrite ends the direction to the target.
func (c *streamConn) CloseWrite() error {
	if c.closed.Load() {
		return net.ErrClosed
	}
	return c.why(c.stream.CloseWrite())
}

// Close ends the tunnel, and leaves the connection to the others.
func (c *streamConn) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	past := time.Unix(1, 0)
	c.in.set(past)
	c.out.set(past)
	c.stream.Leave(leavePatience)
	c.hop.pool.leave(c.on)
	return nil
}

// why puts the name of the hop to what ended the stream.
func (c *streamConn) why(err error) error {
	switch {
	case err == nil, err == io.EOF, err == sock.ErrWouldBlock:
		return err
	case c.closed.Load():
		return net.ErrClosed
	case err == h2connect.ErrStopped:
		return os.ErrDeadlineExceeded
	}
	return c.hop.fail(context.Background(), OpTunnel, c.target, err)
}

// LocalAddr is that of the connection to the proxy.
func (c *streamConn) LocalAddr() net.Addr { return c.on.below.LocalAddr() }

// RemoteAddr is that of the proxy.
func (c *streamConn) RemoteAddr() net.Addr { return c.on.below.RemoteAddr() }

// QuickAck is what sock.QuickAck does to a socket. There is no NetConn: the
// socket is not this tunnel's to close or reset.
func (c *streamConn) QuickAck() { sock.QuickAck(c.on.below) }

// SetDeadline implements net.Conn.
func (c *streamConn) SetDeadline(t time.Time) error {
	c.SetWriteDeadline(t)
	return c.SetReadDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *streamConn) SetReadDeadline(t time.Time) error { return c.limit(&c.in, t) }

// SetWriteDeadline implements net.Conn.
func (c *streamConn) SetWriteDeadline(t time.Time) error { return c.limit(&c.out, t) }

func (c *streamConn) limit(d *deadline, t time.Time) error {
	if c.closed.Load() {
		return net.ErrClosed
	}
	d.set(t)
	return nil
}

// A deadline is a moment at which a channel is closed. The zero value never
// comes.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer // of the time that is set; nil: none, or past
	past  chan struct{}
}

// passed returns what is closed when the time has come, however often it is set
// anew until then.
func (d *deadline) passed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.past == nil {
		d.past = make(chan struct{})
	}
	return d.past
}

func (d *deadline) over() bool { return isClosedChannel(d.passed()) }

func isClosedChannel(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// set moves the moment to t; the zero time is never.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.past == nil || isClosedChannel(d.past) {
		d.past = make(chan struct{})
	}
	left := time.Until(t)
	if t.IsZero() {
		return
	}
	if left <= 0 {
		close(d.past)
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(left, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.timer == timer { // not one that was replaced while it went off
			d.timer = nil
			close(d.past)
		}
	})
	d.timer = timer
}
