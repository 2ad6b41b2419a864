package sock

import "golang.org/x/sys/unix"

// unsent returns how many bytes the peer has not acknowledged yet: XNU keeps what
// is under way in the queue, too.
func unsent(fd uintptr) (int, error) {
	return unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_NWRITE)
}
