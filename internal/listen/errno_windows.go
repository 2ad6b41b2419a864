package listen

import "golang.org/x/sys/windows"

// Windows has its own numbers, and package syscall's Unix names do not match them.
const (
	errInUse        = windows.WSAEADDRINUSE
	errNotAvailable = windows.WSAEADDRNOTAVAIL
	errRefused      = windows.WSAECONNREFUSED
)
