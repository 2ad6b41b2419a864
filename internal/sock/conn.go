package sock

import (
	"io"
	"net"
	"sync"
	"time"
)

// ErrWouldBlock is what a Conn in polling mode returns when nothing has been
// read yet. It is temporary, so crypto/tls keeps what it holds of a record and
// goes on at the next Read.
var ErrWouldBlock net.Error = wouldBlock{}

type wouldBlock struct{}

func (wouldBlock) Error() string   { return "no bytes yet" }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }

// A Pollable is a connection that is no socket of the system and can be read
// like one, without a buffer while nothing comes: a stream with a queue of its
// own.
type Pollable interface {
	// TryRead takes what is there: ErrWouldBlock means nothing.
	TryRead(p []byte) (int, error)
	// WaitRead returns when TryRead has bytes to give, or with what it would say:
	// io.EOF at the end.
	WaitRead() error
}

// A Conn stands between TLS and the socket. Upward it holds back what is written
// until Flush or a full buffer, so that many records leave in one system call.
// Downward it never lets TLS wait with its buffer in hand.
//
// It starts in blocking mode, for handshakes: Read waits, sends before that what
// has been held back, and asks for quick acknowledgements. After Poll, Read
// never waits: it returns ErrWouldBlock, and the reader calls Wait, which holds
// no buffer while the peer is silent. Then Flush is for who writes: a reader
// that waited for the socket to take bytes would wait for a peer that waits for
// the reader.
//
// One goroutine reads, any may write.
type Conn struct {
	net.Conn

	in      Pollable // nil: src
	socket  poller
	polling bool
	drained bool // the last read took all there was: do not ask again before Wait
	ended   bool

	// Where the system does not tell readiness: what Wait has read.
	src    *Source
	unread []byte

	wmu  sync.Mutex
	held *Buffer // B is cut to what it holds
	werr error
}

// NewConn returns a Conn over c, in blocking mode.
func NewConn(c net.Conn) *Conn {
	conn := &Conn{Conn: c}
	in, ok := c.(Pollable)
	switch {
	case ok:
		conn.in = in
	case conn.socket.init(c):
		conn.in = &conn.socket
	default:
		conn.src = NewSource(c)
	}
	return conn
}

// Poll switches to polling mode, for good.
func (c *Conn) Poll() { c.polling = true }

// Ended tells whether the socket itself has come to its end. TLS says io.EOF
// then too, as after a close_notify.
func (c *Conn) Ended() bool { return c.ended }

// Wait waits until there is something to read, in polling mode. At the end of
// the socket its error is io.EOF.
func (c *Conn) Wait() error {
	if len(c.unread) > 0 {
		return nil
	}
	c.drained = false
	var err error
	if c.src == nil {
		err = c.in.WaitRead()
	} else {
		c.unread, err = c.src.Next(0)
	}
	c.ended = c.ended || err == io.EOF
	return err
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (n int, err error) {
	switch {
	case !c.polling:
		c.Flush() // an error is kept for the next write: it must not hide what can still be read
		n, err = c.Conn.Read(p)
		QuickAck(c.Conn)
	case c.src != nil:
		n, err = c.readBuffer(p)
	case c.drained || len(p) == 0:
		return 0, ErrWouldBlock
	default:
		n, err = c.in.TryRead(p)
		c.drained = n < len(p)
	}
	c.ended = c.ended || err == io.EOF
	return n, err
}

func (c *Conn) readBuffer(p []byte) (int, error) {
	if len(c.unread) == 0 {
		return 0, ErrWouldBlock
	}
	n := copy(p, c.unread)
	c.unread = c.unread[n:]
	if len(c.unread) == 0 {
		c.src.Release()
		c.unread = nil
	}
	return n, nil
}

// Write implements net.Conn; the bytes wait for Flush.
func (c *Conn) Write(p []byte) (int, error) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.werr != nil {
		return 0, c.werr
	}
	total := len(p)
	for len(p) > 0 {
		c.room(len(p))
		n := len(c.held.B)
		k := copy(c.held.B[n:cap(c.held.B)], p)
		c.held.B = c.held.B[:n+k]
		p = p[k:]
		if len(p) > 0 {
			if err := c.flush(); err != nil {
				return 0, err
			}
		}
	}
	return total, nil
}

// room makes sure that a buffer is held, a large one if more than a small one
// has to go in.
func (c *Conn) room(more int) {
	if c.held == nil {
		c.held = TakeBuffer(more >= SmallBuffer)
		c.held.B = c.held.B[:0]
		return
	}
	n := len(c.held.B)
	if cap(c.held.B) == SmallBuffer && n+more > SmallBuffer {
		large := TakeBuffer(true)
		large.B = large.B[:copy(large.B, c.held.B)]
		c.held.Free()
		c.held = large
	}
}

// Flush sends what has been held back.
func (c *Conn) Flush() error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	return c.flush()
}

func (c *Conn) flush() error {
	if c.werr != nil || c.held == nil {
		return c.werr
	}
	_, c.werr = c.Conn.Write(c.held.B)
	c.held.Free()
	c.held = nil
	return c.werr
}

// SetWriteDeadline flushes first. tls.Conn.CloseWrite leaves an expired
// deadline behind: a close_notify held back past it would never be sent.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if err := c.Flush(); err != nil {
		return err
	}
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline flushes first, as SetWriteDeadline does.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.Flush(); err != nil {
		return err
	}
	return c.Conn.SetDeadline(t)
}

// Close sends what has been held back, as far as the socket takes it at once,
// and closes the connection.
func (c *Conn) Close() error {
	if c.wmu.TryLock() { // otherwise a writer is stuck: closing frees it
		if c.werr == nil && c.held != nil {
			c.Conn.SetWriteDeadline(time.Now().Add(time.Second))
			c.flush()
		}
		c.wmu.Unlock()
	}
	return c.Conn.Close()
}

// CloseWrite sends what has been held back, then a FIN where the connection
// below can.
func (c *Conn) CloseWrite() error {
	if err := c.Flush(); err != nil {
		return err
	}
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}

// NetConn returns the connection below.
func (c *Conn) NetConn() net.Conn { return c.Conn }
