//go:build unix

package sock

import "syscall"

// What the system says of a socket, for errors.Is.
const (
	ErrInUse        = syscall.EADDRINUSE
	ErrNotAvailable = syscall.EADDRNOTAVAIL
	ErrRefused      = syscall.ECONNREFUSED
	ErrReset        = syscall.ECONNRESET
	ErrBroken       = syscall.EPIPE // written to after the peer's reset
)
