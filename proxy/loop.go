package proxy

import (
	"context"
	"net"
	"net/netip"
	"strings"
)

// LoopsTo says whether the proxy that w begins with is the listener at that
// address, so that each connection would come back to it. It looks the proxy's
// name up only if the ports agree; a name that cannot be looked up is no loop.
func (w Way) LoopsTo(ctx context.Context, listen net.Addr) bool {
	bound, err := netip.ParseAddrPort(listen.String())
	if len(w.Hops) == 0 || err != nil || !strings.HasPrefix(listen.Network(), "tcp") {
		return false
	}
	host, port, err := splitAddr(w.Hops[0].addr())
	if err != nil || port != bound.Port() {
		return false
	}
	ctx, cancel := withLimit(ctx, 0)
	defer cancel()
	ips, err := Dialer{}.addresses(ctx, host)
	if err != nil {
		return false
	}
	for _, ip := range ips {
		ip = ip.Unmap().WithZone("")
		if ip == bound.Addr().Unmap().WithZone("") {
			return true
		}
		if bound.Addr().IsUnspecified() && (ip.IsLoopback() || ip.IsUnspecified() || isOurs(ip)) {
			return true
		}
		if ip.IsUnspecified() && bound.Addr().IsLoopback() {
			return true // dialing 0.0.0.0 reaches the loopback interface
		}
	}
	return false
}

// isOurs says whether ip is an address of this machine.
func isOurs(ip netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, addr := range addrs {
		if prefix, err := netip.ParsePrefix(addr.String()); err == nil && prefix.Addr().Unmap() == ip {
			return true
		}
	}
	return false
}
