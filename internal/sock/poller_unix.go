//go:build unix

package sock

import (
	"io"
	"net"
	"os"
	"syscall"
)

// A poller is the Pollable of a socket.
type poller struct {
	raw     syscall.RawConn
	attempt func(fd uintptr) bool // kept, so that a read allocates nothing
	look    func(fd uintptr) bool
	p       []byte
	n       int
	err     error
}

// init tells whether c is a socket that can be polled.
func (r *poller) init(c net.Conn) bool {
	if r.raw = rawConn(c); r.raw == nil {
		return false
	}
	r.attempt = func(fd uintptr) bool {
		r.n, r.err = again(func() (int, error) { return syscall.Read(int(fd), r.p) })
		return true
	}
	var one [1]byte
	r.look = func(fd uintptr) bool {
		r.n, r.err = again(func() (int, error) {
			n, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK)
			return n, err
		})
		return r.err != syscall.EAGAIN
	}
	return true
}

func again(f func() (int, error)) (int, error) {
	for {
		if n, err := f(); err != syscall.EINTR {
			return n, err
		}
	}
}

// TryRead implements Pollable.
func (r *poller) TryRead(p []byte) (int, error) {
	r.p = p
	err := r.raw.Read(r.attempt)
	r.p = nil
	if err == nil && r.err == syscall.EAGAIN {
		return 0, ErrWouldBlock
	}
	return r.result("read", err)
}

// WaitRead implements Pollable. It leaves the byte that it has seen where it is.
func (r *poller) WaitRead() error {
	_, err := r.result("recv", r.raw.Read(r.look))
	return err
}

func (r *poller) result(op string, err error) (int, error) {
	switch {
	case err != nil:
		return 0, err
	case r.err != nil:
		return 0, os.NewSyscallError(op, r.err)
	case r.n <= 0:
		return 0, io.EOF
	}
	return r.n, nil
}
