package tunnel

import (
	"errors"
	"io"

	"github.com/pomerium/pomerium-cli/internal/h2connect"
)

// An h2Stream is a tunnel on an HTTP/2 connection.
type h2Stream struct {
	*h2connect.Stream
	cut func() // the edge has dropped bytes that it could not send
}

func (s *h2Stream) protocol() string { return "h2" }

// Read implements io.Reader.
func (s *h2Stream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	return n, s.noted(err)
}

// Deliver implements the relay's way to copy downward without a goroutine.
func (s *h2Stream) Deliver(w io.Writer, done func(n int64, err error)) {
	s.Stream.Deliver(w, func(n int64, err error) { done(n, s.noted(err)) })
}

// WriteTo implements io.WriterTo.
func (s *h2Stream) WriteTo(w io.Writer) (int64, error) {
	n, err := s.Stream.WriteTo(w)
	return n, s.noted(err)
}

func (s *h2Stream) noted(err error) error {
	var e *h2connect.Error
	if errors.As(err, &e) && e.Cut {
		s.cut()
	}
	return err
}
