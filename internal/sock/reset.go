package sock

import (
	"net"
	"time"
)

// How long Reset lets the kernel send what it still has, and how often it
// looks.
const (
	resetPatience = 2 * time.Second
	resetLook     = 5 * time.Millisecond
)

// Reset closes c so that the peer reads a reset, not an end: closing with
// SO_LINGER 0. The bytes already written are let out first, for two seconds at
// most, because the kernel throws away what it has not sent. What is not a TCP
// connection is closed.
func Reset(c net.Conn) error {
	tcp, ok := bottom(c).(*net.TCPConn)
	if !ok {
		return c.Close()
	}
	for end := time.Now().Add(resetPatience); unsent(tcp) > 0 && time.Now().Before(end); {
		time.Sleep(resetLook)
	}
	tcp.SetLinger(0)
	return c.Close()
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
