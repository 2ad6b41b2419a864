//go:build !unix

package sock

import "net"

// poller is not to be had: this system's sockets cannot be asked without a
// buffer.
type poller struct{}

func (*poller) init(net.Conn) bool          { return false }
func (*poller) TryRead([]byte) (int, error) { panic("sock: no readiness on this system") }
func (*poller) WaitRead() error             { panic("sock: no readiness on this system") }
