package sock

import (
	"io"
	"net"
)

// A Sink writes to a local end, at once or patiently.
type Sink struct {
	w   io.Writer
	raw rawWriter
}

// NewSink returns a Sink that writes to w.
func NewSink(w io.Writer) *Sink {
	s := &Sink{w: w}
	s.raw.init(w)
	return s
}

// Try writes what the socket takes without waiting, and returns how many bytes
// that was: 0 where the system cannot tell, or on an error, which the next
// Write then meets.
func (s *Sink) Try(pieces [][]byte) int { return s.raw.try(pieces) }

// Write writes all pieces, waits as long as that takes, and consumes the slice.
func (s *Sink) Write(pieces [][]byte) (int64, error) {
	bufs := net.Buffers(pieces)
	return bufs.WriteTo(s.w)
}
