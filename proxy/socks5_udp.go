package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// ErrNoUDP says that datagrams cannot go this way: an HTTP proxy carries none,
// and behind another proxy nothing reaches the relay of a SOCKS5 proxy.
var ErrNoUDP = errors.New("this way carries no UDP")

// DialUDP returns a connection that carries datagrams to addr, "host:port", by
// this way: directly, or through a single SOCKS5 proxy, which looks the name up.
// For any other way the error is ErrNoUDP.
func (w Way) DialUDP(ctx context.Context, addr string) (net.Conn, error) {
	switch {
	case len(w.Hops) == 0:
		return (&net.Dialer{}).DialContext(ctx, "udp", addr)
	case len(w.Hops) == 1 && strings.HasPrefix(w.Hops[0].URL.Scheme, "socks5"):
		conn, err := w.Hops[0].associate(ctx, addr)
		return conn, w.named(err)
	}
	return nil, ErrNoUDP
}

// associate asks a SOCKS5 proxy to relay datagrams (RFC 1928 7).
func (h *Hop) associate(ctx context.Context, target string) (net.Conn, error) {
	if _, err := h.row(); err != nil {
		return nil, err
	}
	ctx, cancel := withLimit(ctx, h.Timeout)
	defer cancel()
	header, err := socksAddress(target)
	if err != nil {
		return nil, h.fail(ctx, OpConnect, target, err)
	}
	w, err := h.socksOpen(ctx, target)
	if err != nil {
		return nil, err
	}
	relay, err := h.relay(ctx, w)
	if err != nil {
		w.close()
		return nil, h.fail(ctx, OpConnect, target, err)
	}
	if !w.stop() {
		relay.Close()
		w.conn.Close()
		return nil, h.fail(ctx, OpConnect, target, net.ErrClosed)
	}
	return &association{Conn: relay, control: w.conn, header: append([]byte{0, 0, 0}, header...)}, nil
}

// relay asks for an association and connects to its relay. We cannot say which
// address our datagrams will come from: all zeros.
func (h *Hop) relay(ctx context.Context, w *wire) (net.Conn, error) {
	bound, err := w.socksAsk(commandUDP, []byte{addressIPv4, 0, 0, 0, 0, 0, 0})
	if err == Reply(7) {
		return nil, fmt.Errorf("the proxy does not know the command UDP ASSOCIATE: %w", ErrNoUDP)
	}
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(bound)
	if err != nil {
		return nil, err
	}
	// Many say "here" by an address that is none.
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = h.URL.Hostname()
	}
	return (&net.Dialer{}).DialContext(ctx, "udp", net.JoinHostPort(host, port))
}

// An association carries datagrams to one target and from it. It lasts as long
// as its control connection.
type association struct {
	net.Conn
	control net.Conn
	header  []byte // of each datagram: RSV, FRAG and the address
}

// Write sends one datagram.
func (a *association) Write(p []byte) (int, error) {
	n, err := a.Conn.Write(append(bytes.Clone(a.header), p...))
	return max(0, n-len(a.header)), err
}

// Read returns the next datagram. Fragments are dropped, as RFC 1928 allows.
func (a *association) Read(p []byte) (int, error) {
	buf := make([]byte, len(p)+262) // the longest header: a name of 255 bytes
	for {
		n, err := a.Conn.Read(buf)
		if err != nil {
			return 0, err
		}
		if payload, ok := cutUDPHeader(buf[:n]); ok {
			return copy(p, payload), nil
		}
	}
}

// Close ends the association.
func (a *association) Close() error { return errors.Join(a.Conn.Close(), a.control.Close()) }

// cutUDPHeader takes the header off a datagram of a relay.
func cutUDPHeader(datagram []byte) (payload []byte, ok bool) {
	if len(datagram) < 5 || datagram[2] != 0 {
		return nil, false
	}
	var length int
	switch datagram[3] {
	case addressIPv4:
		length = net.IPv4len
	case addressIPv6:
		length = net.IPv6len
	case addressName:
		length = 1 + int(datagram[4])
	default:
		return nil, false
	}
	end := 4 + length + 2
	if len(datagram) < end {
		return nil, false
	}
	return datagram[end:], true
}
