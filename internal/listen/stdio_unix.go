//go:build unix

package listen

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// wasClosed reports whether the program was started with this file closed.
// Go's runtime opens /dev/null for reading and writing in its place, where
// `>/dev/null` opens it for writing only, and that is all there is to tell by.
func wasClosed(f *os.File) bool {
	info, err := f.Stat()
	if err != nil {
		return true
	}
	null, err := os.Stat(os.DevNull)
	if err != nil || !os.SameFile(info, null) {
		return false
	}
	mode, err := accessMode(f)
	return err == nil && mode == syscall.O_RDWR
}

// shutdownWrite ends our side of a socket that standard input shares: closing
// one of two descriptors of it would say nothing to the other side.
func shutdownWrite(f *os.File) {
	rc, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = rc.Control(func(fd uintptr) {
		_ = syscall.Shutdown(int(fd), syscall.SHUT_WR) // ENOTSOCK for everything else
	})
}

// accessMode tells how a file was opened: O_RDONLY, O_WRONLY or O_RDWR.
func accessMode(f *os.File) (int, error) {
	rc, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var flags int
	var failed error
	err = rc.Control(func(fd uintptr) {
		flags, failed = unix.FcntlInt(fd, unix.F_GETFL, 0)
	})
	if err != nil {
		return 0, err
	}
	return flags & unix.O_ACCMODE, failed
}
