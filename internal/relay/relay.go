// Package relay joins a local end to a tunnel: bytes both ways, half-close,
// reset.
//
// Each direction ends on its own. An end of the local side is passed on as a
// half-close, an end of the tunnel as an end; what was cut, on either side, is
// passed on as a reset, never as a clean end.
package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/pomerium/pomerium-cli/internal/sock"
)

// A Stream is either end. If it has a method Reset() error, that cuts it so
// that its peer notices; a net.Conn is reset with sock.Reset; anything else is
// closed.
//
// A tunnel may do more: Send(b) with Headroom() saves a copy upward, Deliver
// or WriteTo one downward, and Done() tells that it takes no more bytes.
type Stream interface {
	io.Reader
	io.Writer
	CloseWrite() error
	Close() error
}

// A Result says how many bytes went to the tunnel (Up) and came from it (Down),
// and what cut it. Err is nil if both directions came to their end, and the
// context's cause if that stopped it.
type Result struct {
	Up, Down int64
	Err      error
	Local    bool // Err is a read error of the local end, whose program went away
}

// settle bounds how long a local end that the tunnel is done with may take to
// accept the last bytes. It is long, as a program may stop reading for minutes.
const settle = 5 * time.Minute

// Join copies until both directions are done, or until ctx is, which resets
// both ends. It closes both and leaves no goroutine behind, except the one that
// a local end may need for reading what cannot be interrupted.
func Join(ctx context.Context, local, remote Stream) Result {
	r := &joint{local: local, remote: remote, upDone: make(chan struct{}), downDone: make(chan struct{})}
	stop := context.AfterFunc(ctx, r.cut)
	r.down(func(n int64, err error) {
		r.res.Down, r.downErr = n, err
		if err == nil {
			r.finish()
		} else {
			r.cut()
		}
		close(r.downDone)
	})
	r.up()
	<-r.downDone
	stopped := !stop()
	remote.Close()
	local.Close()
	switch {
	case stopped:
		r.res.Err = context.Cause(ctx)
	case r.upErr != nil:
		r.res.Err, r.res.Local = r.upErr, true // it came first: the other is only what it led to
	default:
		r.res.Err = r.downErr
	}
	return r.res
}

type joint struct {
	local, remote    Stream
	res              Result
	upErr, downErr   error
	upDone, downDone chan struct{}
}

// cut resets both ends, and so ends both directions.
func (r *joint) cut() {
	r.remote.Close()
	reset(r.local)
}

func reset(s Stream) {
	switch s := s.(type) {
	case interface{ Reset() error }:
		s.Reset()
	case net.Conn:
		sock.Reset(s)
	default:
		s.Close()
	}
}

// up copies from the local end to the tunnel. When the tunnel takes no more it
// goes on reading: what is in the way of the bytes that still go down must not
// become a reset.
func (r *joint) up() {
	defer close(r.upDone)
	src := sock.NewSource(r.local)
	defer src.Release()
	send, headroom := sender(r.remote)
	for sending := true; ; {
		b, err := src.Next(headroom)
		if errors.Is(err, io.EOF) {
			r.remote.CloseWrite()
			return
		}
		if err != nil {
			if !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) {
				r.upErr = err
			}
			r.remote.Close()
			return
		}
		if sending {
			if sending = send(b) == nil; sending {
				r.res.Up += int64(len(b) - headroom)
			}
		}
	}
}

func sender(s Stream) (send func([]byte) error, headroom int) {
	if s, ok := s.(interface {
		Send([]byte) error
		Headroom() int
	}); ok {
		return s.Send, s.Headroom()
	}
	return func(b []byte) error {
		_, err := s.Write(b)
		return err
	}, 0
}

// down copies from the tunnel to the local end, and calls done when that is
// over.
func (r *joint) down(done func(n int64, err error)) {
	switch remote := r.remote.(type) {
	case interface {
		Deliver(w io.Writer, done func(n int64, err error))
	}:
		remote.Deliver(r.local, done)
	case io.WriterTo:
		go func() { done(remote.WriteTo(r.local)) }() // Join waits for downDone
	default:
		go func() { done(copyTo(r.local, remote)) }() // likewise
	}
}

func copyTo(w io.Writer, r io.Reader) (n int64, err error) {
	src := sock.NewSource(r)
	defer src.Release()
	for {
		b, err := src.Next(0)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		k, err := w.Write(b)
		if n += int64(k); err != nil {
			return n, err
		}
	}
}

// finish passes the tunnel's end on. If the tunnel takes no more bytes either,
// the local end is closed once it has accepted everything; otherwise it decides
// when to stop.
func (r *joint) finish() {
	r.local.CloseWrite()
	var gone <-chan struct{}
	if d, ok := r.remote.(interface{ Done() <-chan struct{} }); ok {
		gone = d.Done()
	}
	select {
	case <-r.upDone:
		return
	case <-gone:
	}
	if c, ok := r.local.(net.Conn); ok {
		sock.Settle(c, settle, r.upDone)
	}
	r.local.Close()
}
