package h2connect

import (
	"io"
	"net"

	"github.com/pomerium/pomerium-cli/internal/sock"
)

// Read implements io.Reader.
func (s *Stream) Read(p []byte) (int, error) {
	for {
		n, err := s.TryRead(p)
		if err != sock.ErrWouldBlock {
			return n, err
		}
		<-s.canRead
	}
}

// TryRead reads what is there; sock.ErrWouldBlock means nothing.
func (s *Stream) TryRead(p []byte) (int, error) {
	s.mu.Lock()
	if s.queue.size > 0 {
		n := s.queue.read(p)
		s.drained(n) // unlocks
		return n, nil
	}
	defer s.mu.Unlock()
	if err := s.endLocked(); err != nil {
		return 0, err
	}
	return 0, sock.ErrWouldBlock
}

// WaitRead waits until there are bytes, which it leaves there. Its error is
// what ends the stream, or ErrStopped once stop is closed.
func (s *Stream) WaitRead(stop <-chan struct{}) error {
	for {
		s.mu.Lock()
		there, err := s.queue.size > 0, s.endLocked()
		s.mu.Unlock()
		if there {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case <-s.canRead:
		case <-stop:
			return ErrStopped
		}
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

// receive takes the payload of DATA frames, which may be padding alone. It
// writes to the local end what that takes at once, and queues the rest.
func (s *Stream) receive(pieces [][]byte, total int) {
	s.mu.Lock()
	if s.closed || s.err != nil || s.sinkErr != nil {
		s.mu.Unlock()
		return
	}
	taken := 0
	if s.sink != nil && !s.writing && total > 0 {
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

// creditLocked returns how much window to give back now: all but what waits for
// the local end beyond what may.
func (s *Stream) creditLocked() uint32 {
	n := s.uncredited - max(0, s.pending-s.c.flow.free)
	if n < s.c.flow.credit || s.ended {
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
