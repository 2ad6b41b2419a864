package token

import (
	"errors"

	"golang.org/x/sys/windows"
)

// try locks the file, and reports whether that could be done at once. The
// system gives the lock back when the process ends, however it ends. A lock
// keeps others from reading what it covers, so it covers a byte far behind the
// file's end.
func (l *lock) try() (bool, error) {
	err := windows.LockFileEx(windows.Handle(l.file.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY,
		0, 1, 0, &windows.Overlapped{OffsetHigh: 1 << 30})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return false, nil
	}
	return err == nil, err
}
