package listen

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
)

// stdioBuffer is the size of each of the two buffers between standard input
// and its reader. A pipe on Linux holds as much.
const stdioBuffer = 64 << 10

// Stdio is standard input and output as one local end. Read, Write,
// CloseWrite and Close may be called from different goroutines; there is one
// reader and one writer at a time.
type Stdio struct {
	in  io.Reader
	out *os.File

	start  sync.Once
	chunks chan chunk    // from the goroutine that reads in
	gone   chan struct{} // closed by Close

	rest []byte // what Read has not handed over yet
	err  error  // how standard input ended

	closeOut sync.Once
	closeErr error
	close    sync.Once
}

var errClosedOutput = errors.New("standard output is closed")

type chunk struct {
	p   []byte
	err error
}

// NewStdio joins in and out, usually os.Stdin and os.Stdout, to one local end.
// It is an error if standard output was closed when the program started.
func NewStdio(in io.Reader, out *os.File) (*Stdio, error) {
	if wasClosed(out) {
		return nil, &Error{Spec: "-", Err: errClosedOutput}
	}
	return &Stdio{in: in, out: out, chunks: make(chan chunk), gone: make(chan struct{})}, nil
}

// Read hands over what standard input has. It returns net.ErrClosed after Close.
func (s *Stdio) Read(p []byte) (int, error) {
	// Joined by nobody: a blocked read of standard input cannot be ended. The
	// goroutine ends with its next read after Close, or with the process.
	s.start.Do(func() { go s.pump() })
	for len(s.rest) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		select {
		case c := <-s.chunks:
			s.rest, s.err = c.p, c.err
		case <-s.gone:
			return 0, net.ErrClosed
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// pump reads standard input into two buffers in turn: while Read hands over
// one, the other is being filled. The channel holds nothing, so a buffer is
// filled again only after Read has asked for the one after it.
func (s *Stdio) pump() {
	buffers := [2][]byte{make([]byte, stdioBuffer), make([]byte, stdioBuffer)}
	for i := 0; ; i ^= 1 {
		n, err := s.in.Read(buffers[i])
		if err != nil && !errors.Is(err, io.EOF) {
			err = fmt.Errorf("standard input: %w", err)
		}
		select {
		case s.chunks <- chunk{buffers[i][:n], err}:
		case <-s.gone:
			return
		}
		if err != nil {
			return
		}
	}
}

// Write writes to standard output.
func (s *Stdio) Write(p []byte) (int, error) {
	n, err := s.out.Write(p)
	if err != nil {
		return n, &OutputError{Err: err}
	}
	return n, nil
}

// CloseWrite ends standard output, so that its reader sees the end while
// standard input goes on.
func (s *Stdio) CloseWrite() error {
	s.closeOut.Do(func() {
		shutdownWrite(s.out)
		if err := s.out.Close(); err != nil {
			s.closeErr = &OutputError{Err: err}
		}
	})
	return s.closeErr
}

// Close ends both directions. A Read that waits returns; the read of standard
// input under it may stay until the process ends.
func (s *Stdio) Close() error {
	s.close.Do(func() { close(s.gone) })
	return s.CloseWrite()
}

// OutputError says that standard output takes no more.
type OutputError struct{ Err error }

func (e *OutputError) Error() string { return "write to standard output: " + pathless(e.Err).Error() }

func (e *OutputError) Unwrap() error { return e.Err }

// pathless drops the name "/dev/stdout" that package os puts before a cause.
func pathless(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
