//go:build unix

package token

import (
	"errors"

	"golang.org/x/sys/unix"
)

// try locks the file, and reports whether that could be done at once. The
// kernel gives the lock back when the process ends, however it ends.
func (l *lock) try() (bool, error) {
	for {
		err := unix.Flock(int(l.file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		default:
			return err == nil, err
		}
	}
}
