package sock

import (
	"net"
	"syscall"
)

// QuickAck asks the kernel to acknowledge at once what has just been read. It
// does nothing where it cannot. Forward proxies that leave Nagle's algorithm on
// (tinyproxy, microsocks) hold their next small segment until our delayed
// acknowledgement: 40 ms at each step of a set-up. The kernel forgets the
// option, so it is asked again after every small read.
func QuickAck(c net.Conn) {
	raw := rawConn(bottom(c))
	if raw == nil {
		return
	}
	raw.Control(func(fd uintptr) {
		syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
	})
}
