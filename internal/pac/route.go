package pac

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Route is one way that a script names.
type Route struct {
	Scheme string // "direct", "http", "https" or "socks5": how the proxy is spoken to
	Addr   string // of the proxy, host:port; "" for direct
}

// String is the route as a URL, or "direct".
func (r Route) String() string {
	if r.Addr == "" {
		return r.Scheme
	}
	return r.Scheme + "://" + r.Addr
}

// keywords of a result. SOCKS alone means version 4 to most browsers; servers
// that speak 4 and not 5 have died out, so that it is worth the try.
var keywords = map[string]struct{ scheme, port string }{
	"DIRECT": {"direct", ""},
	"PROXY":  {"http", "80"},
	"HTTP":   {"http", "80"},
	"HTTPS":  {"https", "443"},
	"SOCKS":  {"socks5", "1080"},
	"SOCKS5": {"socks5", "1080"},
}

// maxEntries bounds how many entries of a result are looked at: each costs the
// time to try it, or a line of the log.
const maxEntries = 64

// parseRoutes reads "PROXY a:8080; SOCKS b; DIRECT". A result without entries
// means direct; one that has entries, none of them of use, means no route: to
// go direct then would be a way out that nobody named.
func parseRoutes(result string) (routes []Route, skipped []error) {
	for entry := range strings.SplitSeq(result, ";") {
		fields := strings.Fields(entry)
		if len(fields) == 0 {
			continue
		}
		if len(routes)+len(skipped) == maxEntries {
			return routes, append(skipped, fmt.Errorf("what comes after %d entries", maxEntries))
		}
		route, err := parseRoute(fields)
		if err != nil {
			skipped = append(skipped, err)
			continue
		}
		routes = append(routes, route)
	}
	if len(routes) == 0 && len(skipped) == 0 {
		return []Route{{Scheme: "direct"}}, nil
	}
	return routes, skipped
}

func parseRoute(fields []string) (Route, error) {
	keyword := strings.ToUpper(fields[0])
	kind, known := keywords[keyword]
	entry := printable(strings.Join(fields, " "))
	switch {
	case strings.Contains(entry, "@"):
		return Route{}, fmt.Errorf("an entry with user name or password, which have no place in a pac result")
	case keyword == "SOCKS4":
		return Route{}, fmt.Errorf("%q: SOCKS version 4 is not spoken here", entry)
	case !known:
		return Route{}, fmt.Errorf("%q: unknown kind of proxy", entry)
	case kind.port == "" && len(fields) == 1:
		return Route{Scheme: kind.scheme}, nil
	case kind.port == "" || len(fields) != 2:
		return Route{}, fmt.Errorf("%q: not of the form KIND host:port", entry)
	}
	addr, err := parseAddr(fields[1], kind.port)
	if err != nil {
		return Route{}, fmt.Errorf("%q: %w", entry, err)
	}
	return Route{Scheme: kind.scheme, Addr: addr}, nil
}

func parseAddr(text, defaultPort string) (string, error) {
	host, port := text, defaultPort
	if i := strings.LastIndexByte(text, ':'); i >= 0 && !strings.HasSuffix(text, "]") {
		host, port = text[:i], text[i+1:]
	}
	inner, bracketed := strings.CutPrefix(host, "[")
	if bracketed {
		host = strings.TrimSuffix(inner, "]")
		if ip, err := netip.ParseAddr(host); err != nil || !ip.Is6() || len(host) == len(inner) {
			return "", fmt.Errorf("no IPv6 address in its brackets")
		}
	} else if host == "" || len(host) > 253 || strings.Trim(strings.ToLower(host), "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "" {
		return "", fmt.Errorf("not a host name or address")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", fmt.Errorf("not a port")
	}
	return net.JoinHostPort(strings.ToLower(host), strconv.FormatUint(n, 10)), nil
}
