package sock

import (
	"net"
	"syscall"
)

// QuickAck asks the kernel to acknowledge at once what has just been read. It
// does nothing where it cannot. Forward proxies that leave Nagle's algorithm on
// (tinyproxy, microsocks) hold their next small segment until our delayed
// acknowledgement: 40 ms at each step of a set-up. The kernel forgets the
// option, so it is asked again after every small read. What is a stream on a
// socket that others use as well has a method of the same name.
func QuickAck(c net.Conn) {
	c = bottom(c)
	if stream, ok := c.(interface{ QuickAck() }); ok {
		stream.QuickAck()
		return
	}
	raw := rawConn(c)
	if raw == nil {
		return
	}
	raw.Control(func(fd uintptr) {
		syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
	})
}
