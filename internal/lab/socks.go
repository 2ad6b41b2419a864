package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
)

// socksProxy is a SOCKS5 server (RFC 1928) that knows CONNECT, and one method of
// authentication at a time: none, or user and password (RFC 1929).
type socksProxy struct {
	lab  *Lab
	kind string
	user *url.Userinfo // nil: no password asked
}

const (
	socksVersion = 5

	methodNone         = 0x00
	methodPassword     = 0x02
	methodUnacceptable = 0xff

	commandConnect = 1

	addressIPv4 = 1
	addressName = 3
	addressIPv6 = 4

	replySucceeded          = 0
	replyHostUnreachable    = 4
	replyConnectionRefused  = 5
	replyCommandUnsupported = 7
	replyAddressUnsupported = 8
)

func (p *socksProxy) serve(c *net.TCPConn) {
	if !p.greet(c) {
		return
	}
	addr, code := readRequest(c)
	var up net.Conn
	if code == replySucceeded {
		var err error
		if up, err = p.lab.dial(context.Background(), "tcp", addr); err != nil {
			code = replyConnectionRefused
			if errors.Is(err, errUnknownHost) {
				code = replyHostUnreachable
			}
		}
	}
	c.Write([]byte{socksVersion, code, 0, addressIPv4, 0, 0, 0, 0, 0, 0})
	if up != nil {
		p.lab.log.Debug("proxy: connected", "proxy", p.kind, "target", addr)
		p.lab.carry(c, up.(halfCloser))
	}
}

// greet agrees on the method and runs it.
func (p *socksProxy) greet(c net.Conn) bool {
	head := make([]byte, 2)
	if _, err := io.ReadFull(c, head); err != nil || head[0] != socksVersion {
		return false
	}
	methods := make([]byte, head[1])
	if _, err := io.ReadFull(c, methods); err != nil {
		return false
	}
	want := byte(methodNone)
	if p.user != nil {
		want = methodPassword
	}
	if !slices.Contains(methods, want) {
		c.Write([]byte{socksVersion, methodUnacceptable})
		return false
	}
	c.Write([]byte{socksVersion, want})
	if p.user == nil {
		return true
	}
	if _, err := io.ReadFull(c, head[:1]); err != nil {
		return false
	}
	user, err1 := readString(c)
	given, err2 := readString(c)
	password, _ := p.user.Password()
	if err1 != nil || err2 != nil || user != p.user.Username() || given != password {
		c.Write([]byte{1, 1})
		return false
	}
	c.Write([]byte{1, 0})
	return true
}

// readRequest reads a CONNECT request and returns its address, or the reply that refuses it.
func readRequest(r io.Reader) (addr string, code byte) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil || head[1] != commandConnect {
		return "", replyCommandUnsupported
	}
	var host string
	var err error
	ip := make(net.IP, net.IPv4len)
	switch head[3] {
	case addressName:
		host, err = readString(r)
	case addressIPv6:
		ip = make(net.IP, net.IPv6len)
		fallthrough
	case addressIPv4:
		_, err = io.ReadFull(r, ip)
		host = ip.String()
	default:
		return "", replyAddressUnsupported
	}
	port := make([]byte, 2)
	if _, err2 := io.ReadFull(r, port); err != nil || err2 != nil {
		return "", replyAddressUnsupported
	}
	return net.JoinHostPort(host, strconv.Itoa(int(binary.BigEndian.Uint16(port)))), replySucceeded
}

// readString reads a byte with the length, and so many bytes.
func readString(r io.Reader) (string, error) {
	length := make([]byte, 1)
	if _, err := io.ReadFull(r, length); err != nil {
		return "", err
	}
	b := make([]byte, length[0])
	_, err := io.ReadFull(r, b)
	return string(b), err
}
