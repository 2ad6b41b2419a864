package listen

import "net"

// bindPrivate makes the socket file. On Windows the directory's access list
// decides who may open it, and a user's own directories are private.
func bindPrivate(path string) (*net.UnixListener, error) {
	return net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
}
