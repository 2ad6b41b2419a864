package sock

import (
	"net"
	"time"
)

// resetPatience is how long Reset lets the kernel send what it still has.
const resetPatience = 2 * time.Second

// Reset closes c so that the peer reads a reset, not an end: closing with
// SO_LINGER 0. The bytes already written are let out first, for two seconds at
// most, because the kernel throws away what it has not sent. What is not a TCP
// connection is closed.
func Reset(c net.Conn) error {
	tcp, ok := bottom(c).(*net.TCPConn)
	if !ok {
		return c.Close()
	}
	Settle(c, resetPatience, nil)
	tcp.SetLinger(0)
	return c.Close()
}

// Settle waits until the peer's system has all bytes that were written to c, at
// most for limit or until done is closed. Where the system cannot tell, and for
// what is not a TCP connection, it returns at once.
func Settle(c net.Conn, limit time.Duration, done <-chan struct{}) {
	tcp, ok := bottom(c).(*net.TCPConn)
	if !ok || !unsettled(tcp) {
		return
	}
	end := time.NewTimer(limit)
	defer end.Stop()
	for pause := time.Millisecond; unsettled(tcp); pause = min(2*pause, 100*time.Millisecond) {
		select {
		case <-time.After(pause):
		case <-done:
			return
		case <-end.C:
			return
		}
	}
}

// unsettled says whether the peer's system lacks bytes that were written to c.
func unsettled(c *net.TCPConn) bool {
	raw, n := rawConn(c), 0
	if raw != nil {
		raw.Control(func(fd uintptr) { n, _ = unsent(fd) })
	}
	return n > 0
}

// bottom returns the connection below all wrappers.
func bottom(c net.Conn) net.Conn {
	for {
		w, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = w.NetConn()
	}
}
