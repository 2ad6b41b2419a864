package pac

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// LocalAddrs lists the addresses of this machine that others may reach: first
// those from which the default routes leave, then the rest. It sends nothing:
// a UDP socket that is connected has an address before its first packet.
func LocalAddrs(ctx context.Context) []netip.Addr {
	var addrs []netip.Addr
	add := func(ip netip.Addr) {
		ip = ip.Unmap().WithZone("")
		if ip.IsGlobalUnicast() && !slices.Contains(addrs, ip) {
			addrs = append(addrs, ip)
		}
	}
	for _, far := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} { // RFC 5737, RFC 3849
		if c, err := new(net.Dialer).DialContext(ctx, "udp", far); err == nil {
			add(c.LocalAddr().(*net.UDPAddr).AddrPort().Addr())
			c.Close()
		}
	}
	all, _ := net.InterfaceAddrs()
	for _, a := range all {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			add(prefix.Addr())
		}
	}
	return addrs
}

func (e *engine) local() []netip.Addr {
	if e.env.Local == nil {
		return nil
	}
	return unmap(e.env.Local(e.ctx))
}

// resolve looks a name up, once in a run: scripts ask for the same one in
// dozens of calls to isInNet.
func (e *engine) resolve(host string) []netip.Addr {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip.Unmap()}
	}
	addrs, known := e.found[host]
	if !known && e.env.Lookup != nil && host != "" {
		addrs, _ = e.env.Lookup(e.ctx, host) // to a script, a name that fails is one that is not there
		addrs = unmap(addrs)
		e.found[host] = addrs
	}
	return addrs
}

// ipv4 is the first such address of a host: the functions of 1996 know no other.
func (e *engine) ipv4(host string) netip.Addr {
	for _, ip := range e.resolve(host) {
		if ip.Is4() {
			return ip
		}
	}
	return netip.Addr{}
}

func unmap(addrs []netip.Addr) []netip.Addr {
	plain := make([]netip.Addr, len(addrs))
	for i, ip := range addrs {
		plain[i] = ip.Unmap()
	}
	return plain
}

func joinAddrs(addrs []netip.Addr) string {
	list := make([]string, len(addrs))
	for i, ip := range addrs {
		list[i] = ip.String()
	}
	return strings.Join(list, ";")
}

// sortIPAddressList puts IPv6 before IPv4, and returns nothing for a list with
// anything but addresses.
func sortIPAddressList(list string) string {
	var addrs []netip.Addr
	for item := range strings.SplitSeq(list, ";") {
		ip, err := netip.ParseAddr(strings.TrimSpace(item))
		if err != nil {
			return ""
		}
		addrs = append(addrs, ip)
	}
	slices.SortStableFunc(addrs, func(a, b netip.Addr) int {
		if a.BitLen() != b.BitLen() {
			return b.BitLen() - a.BitLen()
		}
		return a.Compare(b)
	})
	return joinAddrs(addrs)
}

// convertAddr makes a number of a dotted address, signed as JavaScript's
// operators on bits make it. What is no number counts as 0.
func convertAddr(dotted string) int32 {
	var n uint32
	parts := strings.Split(dotted, ".")
	for i := range 4 {
		n <<= 8
		if i < len(parts) {
			b, _ := strconv.Atoi(parts[i])
			n |= uint32(b & 0xff)
		}
	}
	return int32(n)
}
