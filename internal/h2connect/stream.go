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
	for len(b) > frameHeader {
		n, err := s.reserve(len(b) - frameHeader)
		if err != nil {
			return err
		}
		if err := s.c.write(func() error { return s.writeData(b[:frameHeader+n]) }); err != nil {
			if err == net.ErrClosed {
				s.c.windowUpdate(0, int64(n)) // not used: others may
			}
			return err
		}
		b = b[n:]
	}
	return nil
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
func (s *Stream) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		buf := sock.TakeBuffer(len(p) > sock.SmallBuffer)
		n := copy(buf.B[frameHeader:], p)
		err := s.Send(buf.B[:frameHeader+n])
		buf.Free()
		if err != nil {
			return written, err
		}
		written += n
		p = p[n:]
	}
	return written, nil
}

// reserve waits until the windows allow at least one byte, and takes up to
// want.
func (s *Stream) reserve(want int) (int, error) {
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
	err := s.c.write(func() error {
		if s.sealed || s.isReset() { // after a reset by the peer nothing may follow (RFC 9113 section 5.4.2)
			return nil
		}
		s.sealed = true
		return s.c.framer.WriteData(s.id, true, nil)
	})
	s.mu.Lock()
	s.sentEnd = true
	over := s.ended
	s.mu.Unlock()
	if over {
		s.finish()
	}
	return err
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

// Read implements io.Reader.
func (s *Stream) Read(p []byte) (int, error) {
	for {
		s.mu.Lock()
		if s.queue.size > 0 {
			n := s.queue.read(p)
			s.drained(n)
			return n, nil
		}
		err := s.endLocked()
		s.mu.Unlock()
		if err != nil {
			return 0, err
		}
		<-s.canRead
	}
}

// endLocked returns what ends the reading side once the queue is empty.
func (s *Stream) endLocked() error {
	switch {
	case s.sinkErr != nil:
		return s.sinkErr
	case s.closed:
		return net.ErrClosed
	case s.err != nil: // before an end: an overflow drops what came before one
		return s.err
	case s.ended:
		return io.EOF
	}
	return nil
}

// Deliver has everything that arrives written to w, and returns at once. When
// the stream has ended and w has it all, or w fails, done is called on a
// goroutine of its own with the number of bytes written: at the peer's
// END_STREAM with a nil error. While w keeps up, the read loop of the
// connection writes to it, and no goroutine waits here.
func (s *Stream) Deliver(w io.Writer, done func(n int64, err error)) {
	sink := sock.NewSink(w)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sink, s.delivered = sink, done
	s.drainLocked()
}

// WriteTo implements io.WriterTo: it is Deliver, and waits.
func (s *Stream) WriteTo(w io.Writer) (n int64, err error) {
	over := make(chan struct{})
	s.Deliver(w, func(k int64, e error) {
		n, err = k, e
		close(over)
	})
	<-over
	return n, err
}

// drainLocked starts a goroutine that writes what w did not take at once, if
// something is there, and otherwise looks whether delivery is over.
func (s *Stream) drainLocked() {
	switch {
	case s.sink == nil:
		s.wakeReader()
	case s.writing:
	case s.queue.size > 0:
		s.writing = true
		go s.drain() // ends with the queue; whoever called Deliver waits for done
	case s.delivered != nil:
		if err := s.endLocked(); err != nil {
			if err == io.EOF {
				err = nil
			}
			go s.delivered(s.down, err) // the end of the delivery: who called Deliver waits for it
			s.delivered = nil
		}
	}
}

func (s *Stream) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.queue.size > 0 {
		bufs, pieces, size := s.queue.take(drainPiece)
		s.mu.Unlock()
		n, err := s.sink.Write(pieces)
		for _, b := range bufs {
			b.Free()
		}
		s.mu.Lock()
		s.down += n
		s.drained(size) // unlocks
		s.mu.Lock()
		if err != nil {
			s.sinkErr = err
			s.dropLocked()
			s.c.wake() // nothing is behind any more
		}
	}
	s.writing = false
	s.drainLocked()
}

// dropLocked throws away what is queued.
func (s *Stream) dropLocked() {
	dropped := s.queue.size
	s.queue.drop()
	s.pending -= dropped
	s.c.cfg.Limit.change(s, -dropped)
}

// drained notes that the local end took n bytes of the queue, and unlocks s.mu.
func (s *Stream) drained(n int) {
	s.pending -= n
	credit := s.creditLocked()
	level := s.pending
	s.mu.Unlock()
	s.c.cfg.Limit.change(s, -n)
	s.giveBack(credit)
	if !s.c.cfg.Shared && level <= pauseAbove/2 {
		s.c.wake()
	}
}

// receive takes the payload of DATA frames. It writes to the local end what
// that takes at once, and queues the rest.
func (s *Stream) receive(pieces [][]byte, total int) {
	s.mu.Lock()
	if s.closed || s.err != nil || s.sinkErr != nil {
		s.mu.Unlock()
		return
	}
	taken := 0
	if s.sink != nil && !s.writing {
		taken = s.sink.Try(pieces)
		s.down += int64(taken)
	}
	rest := total - taken
	if rest > 0 {
		s.queue.add(pieces, taken, total)
		s.pending += rest
		s.drainLocked()
	}
	s.uncredited += total + s.overhead
	s.overhead = 0
	credit := s.creditLocked()
	s.mu.Unlock()
	s.giveBack(credit)
	if victim := s.c.cfg.Limit.change(s, rest); victim != nil {
		victim.overflow()
	}
}

// creditLocked returns how much window to give back now. Solo: all that the
// local end has taken. Shared: all but what its queue holds beyond SharedQueue.
func (s *Stream) creditLocked() uint32 {
	hold, least := s.pending, soloCredit
	if s.c.cfg.Shared {
		hold, least = max(0, s.pending-SharedQueue), sharedCredit
	}
	n := s.uncredited - hold
	if n < least || s.ended {
		return 0
	}
	s.uncredited -= n
	return uint32(n)
}

func (s *Stream) giveBack(credit uint32) {
	if credit > 0 {
		s.c.later(func() {
			if !s.isReset() {
				s.c.framer.WriteWindowUpdate(s.id, credit)
			}
		})
	}
}

// isOpen tells whether the stream has its answer and has not ended.
func (s *Stream) isOpen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hasAnswer && !s.isGone
}

func (s *Stream) isReset() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isGone
}

// behind tells whether the local end lags so far that the read loop of a solo
// connection should pause.
func (s *Stream) behind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pending > pauseAbove && !s.closed && s.err == nil
}

// overflow resets the stream because its queue is the longest of too many. What
// was queued is lost, so that this is no clean end even if the peer's end is in.
func (s *Stream) overflow() {
	s.mu.Lock()
	if s.err == nil {
		s.err = &Error{Op: "stream", Err: ErrQueueLimit, Cut: true}
	}
	gone := s.isGone
	s.dropLocked()
	s.drainLocked()
	s.mu.Unlock()
	s.seal()
	if !gone {
		s.cancel()
	}
	s.c.remove(s)
	s.c.wake()
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
