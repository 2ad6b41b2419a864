package lab

import (
	"bufio"
	"net"
)

type h2conn struct{}

func newH2Conn(e *edge, c net.Conn, br *bufio.Reader) *h2conn { return &h2conn{} }
func (h *h2conn) serve()                                      {}
func (h *h2conn) goAway()                                     {}
