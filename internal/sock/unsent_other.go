//go:build !linux

package sock

import "net"

// unsent is not known on this system.
func unsent(*net.TCPConn) int { return 0 }
