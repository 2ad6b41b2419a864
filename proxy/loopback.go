package proxy

import (
	"net/netip"
	"strconv"
	"strings"
)

var (
	loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	loopback6 = netip.IPv6Loopback()
)

// loopback returns the addresses of a host that means this machine in any of
// its spellings: localhost, foo.localhost, 127.0.0.1, 127.1, ::1. For any other
// it returns nil.
func loopback(host string) []netip.Addr {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return []netip.Addr{loopback4, loopback6}
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.Unmap().IsLoopback() {
			return []netip.Addr{ip}
		}
		return nil
	}
	return shortLoopback(host)
}

// shortLoopback understands the forms of inet_aton that leave bytes out: in
// 127.1 and 127.0.1 the last number fills the rest.
func shortLoopback(host string) []netip.Addr {
	parts := strings.Split(host, ".")
	if parts[0] != "127" || len(parts) < 2 || len(parts) > 3 {
		return nil
	}
	ip := [4]byte{127}
	for i, part := range parts[1:] {
		last := i == len(parts)-2
		bits := 8
		if last {
			bits = 8 * (3 - i)
		}
		n, err := strconv.ParseUint(part, 10, bits)
		if err != nil || part != strconv.FormatUint(n, 10) {
			return nil
		}
		if !last {
			ip[1+i] = byte(n)
			continue
		}
		for at := 3; at > i; at-- {
			ip[at] = byte(n)
			n >>= 8
		}
	}
	return []netip.Addr{netip.AddrFrom4(ip)}
}
