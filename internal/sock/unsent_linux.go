package sock

import "golang.org/x/sys/unix"

// unsent returns how many bytes the peer has not acknowledged yet.
func unsent(fd uintptr) (int, error) { return unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }
