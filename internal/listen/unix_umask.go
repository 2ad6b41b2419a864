//go:build unix

package listen

import (
	"net"
	"sync"
	"syscall"
)

// umask belongs to the whole process, so only one of us changes it at a time.
var umask sync.Mutex

// bindPrivate makes the socket file with mode 0600. A chmod after bind would
// leave a moment in which others could connect.
func bindPrivate(path string) (*net.UnixListener, error) {
	umask.Lock()
	defer umask.Unlock()
	// Files that the rest of the process makes meanwhile are only more private.
	old := syscall.Umask(0o177)
	defer syscall.Umask(old)
	return net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
}
