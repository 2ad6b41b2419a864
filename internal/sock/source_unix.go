//go:build unix

package sock

import (
	"io"
	"os"
	"syscall"
)

// rawReader waits for readability, and takes a buffer only then.
type rawReader struct {
	raw      syscall.RawConn
	attempt  func(fd uintptr) bool // kept, so that a read allocates nothing
	headroom int
	n        int
	err      error
}

func (r *rawReader) init(s *Source, v any) {
	r.raw = rawConn(v)
	if r.raw == nil {
		return
	}
	r.attempt = func(fd uintptr) bool {
		s.buf = TakeBuffer(s.big)
		for {
			r.n, r.err = syscall.Read(int(fd), s.piece(r.headroom))
			switch r.err {
			case syscall.EINTR:
				continue
			case syscall.EAGAIN:
				s.Release()
				return false
			}
			return true
		}
	}
}

func (r *rawReader) ready() bool { return r.raw != nil }

func (r *rawReader) read(headroom int) (int, error) {
	r.headroom = headroom
	if err := r.raw.Read(r.attempt); err != nil {
		return 0, err
	}
	switch {
	case r.err != nil:
		return 0, os.NewSyscallError("read", r.err)
	case r.n <= 0:
		return 0, io.EOF
	}
	return r.n, nil
}
