package h2connect

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/pomerium/pomerium-cli/internal/sock"
)

const (
	// pauseAbove is how far the local end of a solo stream may lag, in bytes,
	// before the socket is left alone. Below that, the two sides overlap.
	pauseAbove = 256 << 10
	// drainPiece is how much of a queue one write to the local end takes.
	drainPiece = 256 << 10

	refusalSize    = 16 << 10
	refusalTimeout = 2 * time.Second
)

// errGone means that the peer takes no more bytes on this stream.
var errGone = errors.New("the destination has closed")

// A Stream is one tunnel on a connection. One goroutine reads (Read or WriteTo)
// and one writes (Write or Send).
type Stream struct {
	c        *Conn
	id       uint32
	answer   Response      // set before answered is closed
	answered chan struct{} // the answer is there, or never will be
	gone     chan struct{} // nothing can be sent any more
	canRead  chan struct{} // wakes the reader
	canSend  chan struct{} // wakes the sender

	overhead int   // padding received; the read loop's
	sealed   bool  // our END_STREAM or RST_STREAM is written; guarded by c.wmu
	window   int64 // what we may send; guarded by c.mu

	mu         sync.Mutex // taken after c.mu, never before it
	hasAnswer  bool
	isGone     bool
	queue      queue
	sink       *sock.Sink
	writing    bool                     // a goroutine drains the queue
	sinkErr    error                    // the local end takes no more
	delivered  func(n int64, err error) // told once, when sink has everything
	pending    int                      // received, and not yet with the local end
	uncredited int                      // received, and its window not yet given back
	down       int64
	ended      bool // END_STREAM received
	sentEnd    bool
	closed     bool
	err        error // what the reader gets after the queue
}

func newStream(c *Conn) *Stream {
	return &Stream{
		c:        c,
		answered: make(chan struct{}),
		gone:     make(chan struct{}),
		canRead:  make(chan struct{}, 1),
		canSend:  make(chan struct{}, 1),
	}
}

// Shared tells whether other tunnels may use the same connection.
func (s *Stream) Shared() bool { return s.c.cfg.Shared }

// Done is closed when nothing can be sent any more.
func (s *Stream) Done() <-chan struct{} { return s.gone }

// Headroom is how many bytes Send wants free in front of the data.
func (s *Stream) Headroom() int { return frameHeader }

// Send sends b[Headroom():], and overwrites all of b. It waits for window.
func (s *Stream) Send(b []byte) error {
	_, err := s.send(b, nil)
	return err
}

func (s *Stream) send(b []byte, stop <-chan struct{}) (sent int, err error) {
	for len(b) > frameHeader {
		n, err := s.reserve(len(b)-frameHeader, stop)
		if err != nil {
			return sent, err
		}
		if err := s.c.write(func() error { return s.writeData(b[:frameHeader+n]) }); err != nil {
			if err == net.ErrClosed {
				s.c.windowUpdate(0, int64(n)) // not used: others may
			}
			return sent, err
		}
		sent += n
		b = b[n:]
	}
	return sent, nil
}

// writeData writes DATA frames. The header of each lies where the last payload
// bytes of the one before were: those are encrypted and gone by then.
func (s *Stream) writeData(b []byte) error {
	if s.sealed {
		return net.ErrClosed
	}
	for len(b) > frameHeader {
		n := min(len(b)-frameHeader, maxPayload)
		binary.BigEndian.PutUint32(b, uint32(n)<<8|uint32(http2.FrameData))
		b[4] = 0
		binary.BigEndian.PutUint32(b[5:], s.id)
		if _, err := s.c.top.Write(b[:frameHeader+n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// Write implements io.Writer.
func (s *Stream) Write(p []byte) (int, error) { return s.WriteUntil(nil, p) }

// WriteUntil is Write whose wait for window ends with ErrStopped once stop is
// closed. A wait for the socket, which all streams share, ends with the
// connection alone.
func (s *Stream) WriteUntil(stop <-chan struct{}, p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		buf := sock.TakeBuffer(len(p) > sock.SmallBuffer)
		n := copy(buf.B[frameHeader:], p)
		sent, err := s.send(buf.B[:frameHeader+n], stop)
		buf.Free()
		written += sent
		if err != nil {
			return written, err
		}
		p = p[n:]
	}
	return written, nil
}

// reserve waits until the windows allow at least one byte, and takes up to
// want.
func (s *Stream) reserve(want int, stop <-chan struct{}) (int, error) {
	c := s.c
	c.mu.Lock()
	for {
		select {
		case <-s.gone:
			delete(c.starved, s)
			c.mu.Unlock()
			return 0, s.failure()
		default:
		}
		if n := min(int64(want), s.window, c.sendWindow); n > 0 {
			s.window -= n
			c.sendWindow -= n
			delete(c.starved, s)
			c.mu.Unlock()
			return int(n), nil
		}
		c.starved[s] = struct{}{}
		c.mu.Unlock()
		c.wake() // a paused read loop must read on: the window update is there
		select {
		case <-s.canSend:
		case <-s.gone:
		case <-stop:
			c.mu.Lock()
			delete(c.starved, s)
			c.mu.Unlock()
			return 0, ErrStopped
		}
		c.mu.Lock()
	}
}

func (s *Stream) wakeSender() {
	select {
	case s.canSend <- struct{}{}:
	default:
	}
}

func (s *Stream) wakeReader() {
	select {
	case s.canRead <- struct{}{}:
	default:
	}
}

// CloseWrite sends END_STREAM: the destination reads an end, and may go on
// sending.
func (s *Stream) CloseWrite() error {
	err := s.c.write(s.writeEnd)
	s.mu.Lock()
	s.sentEnd = true
	over := s.ended
	s.mu.Unlock()
	if over {
		s.finish()
	}
	return err
}

func (s *Stream) writeEnd() error {
	if s.sealed || s.isReset() { // after a reset by the peer nothing may follow (RFC 9113 section 5.4.2)
		return nil
	}
	s.sealed = true
	return s.c.framer.WriteData(s.id, true, nil)
}

// Close ends the stream: with RST_STREAM CANCEL unless both sides have ended it
// already. What has not been read is dropped.
func (s *Stream) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	over := s.isGone || s.ended && s.sentEnd
	s.dropLocked()
	s.drainLocked()
	s.mu.Unlock()
	if !over {
		s.cancel()
	}
	s.finish()
	s.wakeReader()
	return nil
}

// Leave ends the stream as closing a socket does: what has been written still
// arrives, and an end behind it; RST_STREAM right behind could overtake both in
// the peer. What comes is dropped. A peer that does not end its side in time is
// told to.
func (s *Stream) Leave(patience time.Duration) {
	late := time.AfterFunc(patience, func() { s.Close() })
	go func() { // ends when the socket has taken the end, or is closed
		s.CloseWrite()
		s.Deliver(io.Discard, func(int64, error) {
			late.Stop()
			s.Close()
		})
	}()
}

// cancel sends RST_STREAM without waiting for the socket.
func (s *Stream) cancel() {
	s.c.later(func() {
		s.sealed = true
		s.c.framer.WriteRSTStream(s.id, http2.ErrCodeCancel)
	})
}

// finish forgets the stream: nothing goes either way any more.
func (s *Stream) finish() {
	s.seal()
	s.c.remove(s)
	s.c.wake()
}

// seal closes gone and answered, once.
func (s *Stream) seal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isGone {
		s.isGone = true
		close(s.gone)
	}
	if !s.hasAnswer {
		s.hasAnswer = true
		close(s.answered)
	}
}

// fail ends the stream with err; what has been received is still delivered.
func (s *Stream) fail(err error) {
	s.mu.Lock()
	if s.err == nil && !s.ended {
		s.err = err
	}
	s.drainLocked()
	s.mu.Unlock()
	s.seal()
}

// failure says why the stream can carry no more.
func (s *Stream) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return s.err
	case s.closed:
		return net.ErrClosed
	}
	return errGone
}

// answerReceived takes the final answer; later header blocks are trailers.
func (s *Stream) answerReceived(r Response) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.hasAnswer {
		s.hasAnswer = true
		s.answer = r
		close(s.answered)
	}
}

// endReceived takes END_STREAM. Without an answer before it, it is malformed
// (RFC 9113 section 8.1.1).
func (s *Stream) endReceived() {
	s.mu.Lock()
	if !s.hasAnswer {
		s.mu.Unlock()
		s.c.resetStream(s.id, http2.ErrCodeProtocol)
		return
	}
	s.ended = true
	over := s.sentEnd
	s.drainLocked()
	s.mu.Unlock()
	if over {
		s.finish()
	}
}

// resetReceived takes RST_STREAM. After END_STREAM it is a normal end (RFC 9113
// section 8.1): only nothing can be sent any more.
func (s *Stream) resetReceived(code http2.ErrCode) {
	s.mu.Lock()
	cut := s.c.cfg.Shared && s.answer.Status != 0 && (code == http2.ErrCodeInternal || code == http2.ErrCodeNo)
	s.mu.Unlock()
	s.fail(&Error{Op: "stream", Code: code, Cut: cut, unprocessed: code == http2.ErrCodeRefusedStream})
	s.c.remove(s)
	s.c.wake()
}

// refusal reads the body of an answer that is not 2xx.
func (s *Stream) refusal(ctx context.Context) []byte {
	ctx, cancel := context.WithTimeout(ctx, refusalTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	body, _ := io.ReadAll(io.LimitReader(s, refusalSize))
	return body
}
