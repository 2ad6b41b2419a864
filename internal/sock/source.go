package sock

import (
	"io"
	"net"
	"syscall"
)

// A large piece fills this many TLS records, of this many bytes each (RFC 8446
// section 5.1). One byte more would go out as a record and a packet of its own,
// which cost an eighth of the processor time of an upload. More records save
// nothing: what has been read is still in the processor's cache when it is
// encrypted.
const (
	recordSize   = 16 << 10
	pieceRecords = 3
)

// A Source reads a stream in large pieces and holds no buffer while it waits
// for the next one, where the system can say that bytes are there (sockets on
// Unix). Elsewhere it keeps a small buffer while it waits. One goroutine reads.
type Source struct {
	r   io.Reader
	raw rawReader
	buf *Buffer
	big bool // the last read filled its buffer: take a large one next time
}

// NewSource returns a Source that reads from r.
func NewSource(r io.Reader) *Source {
	s := &Source{r: r}
	s.raw.init(s, r)
	return s
}

// Next waits for bytes and returns them at the end of a slice whose first
// headroom bytes are free for the caller. The slice is valid until the next
// call of Next or Release. At the end of the stream the error is io.EOF.
func (s *Source) Next(headroom int) ([]byte, error) {
	s.Release()
	n, err := s.read(headroom)
	if err != nil {
		s.Release()
		return nil, err
	}
	s.big = n == len(s.piece(headroom)) || (s.big && n > SmallBuffer/2)
	return s.buf.B[:headroom+n], nil
}

// piece is what the next read may fill. The headroom comes again in front of
// what goes into each record.
func (s *Source) piece(headroom int) []byte {
	return s.buf.B[headroom:min(len(s.buf.B), headroom+pieceRecords*(recordSize-headroom))]
}

// Release gives the buffer of the last piece back.
func (s *Source) Release() {
	s.buf.Free()
	s.buf = nil
}

func (s *Source) read(headroom int) (int, error) {
	if s.raw.ready() {
		return s.raw.read(headroom)
	}
	s.buf = TakeBuffer(s.big)
	n, err := s.r.Read(s.piece(headroom))
	if n > 0 {
		return n, nil // an error that came along is there at the next read
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return 0, err
}

// rawConn returns the socket under v, or nil. Files are left alone: standard
// input may be in blocking mode, where readiness means nothing.
func rawConn(v any) syscall.RawConn {
	if _, ok := v.(net.Conn); !ok {
		return nil
	}
	sc, ok := v.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}
