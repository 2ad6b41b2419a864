package sock

import "golang.org/x/sys/windows"

// What the system says of a socket, for errors.Is. Windows has its own numbers,
// and package syscall's Unix names do not match them.
const (
	ErrInUse        = windows.WSAEADDRINUSE
	ErrNotAvailable = windows.WSAEADDRNOTAVAIL
	ErrRefused      = windows.WSAECONNREFUSED
	ErrReset        = windows.WSAECONNRESET
	ErrBroken       = windows.WSAECONNABORTED // written to after the peer's reset
)
