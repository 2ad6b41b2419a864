//go:build unix

package listen

import "syscall"

const (
	errInUse        = syscall.EADDRINUSE
	errNotAvailable = syscall.EADDRNOTAVAIL
	errRefused      = syscall.ECONNREFUSED
)
