package edge

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
)

// forms are the spellings of a destination, for error messages.
const forms = "host:port, tcp://host:port, tcp+https://host:port or tcp+https://edge/host:port"

// destinationSchemes maps the scheme of a destination URL to the scheme of its
// edge. A scheme that names no edge URL ("tcp") takes no path.
var destinationSchemes = map[string]struct {
	edge string
	path bool
}{
	"tcp":       {"https", false},
	"udp":       {"https", false},
	"https":     {"https", true},
	"http":      {"http", true},
	"tcp+https": {"https", true},
	"tcp+http":  {"http", true},
	"udp+https": {"https", true},
	"udp+http":  {"http", true},
}

// defaultPorts holds the port an edge listens on when its URL names none.
var defaultPorts = map[string]string{"https": "443", "http": "80"}

// ParseDestination splits what a user names as a destination into the
// host:port that goes into the request and the edge that is asked for it.
//
// The spellings are host:port, tcp://host:port (and udp://),
// tcp+https://host:port, and tcp+https://edge[:port]/host:port; the prefix
// "tcp+" or "udp+" may be left out of the last two, and http is a plain-text
// edge. In all but the last, the edge is the destination's own host on the
// edge's default port: the destination's port is a label of the route, never
// the port that the edge listens on. Of several path segments the first that
// is not empty counts: they are names of the same route. A destination that
// names no port, as Pomerium's portal prints them, gets 443, because a CONNECT
// over HTTP/1.1 has to name one (RFC 9110 section 9.3.6).
//
// pomeriumURL, unless empty, overrides the edge; see [ParseURL].
//
// The address is otherwise returned as it was written, upper case included: the
// edge compares in lower case. Names outside ASCII become A-labels. The edge's
// Host always has a port. Every error is one of usage, and shows neither
// password nor query of what it was given.
func ParseDestination(destination, pomeriumURL string) (addr string, edge *url.URL, err error) {
	if strings.Contains(destination, "://") {
		addr, edge, err = splitURL(destination)
	} else {
		addr, edge, err = splitHostPort(destination)
	}
	if err != nil {
		return "", nil, fmt.Errorf("destination %s: %w", shown(destination), err)
	}
	if pomeriumURL != "" {
		if edge, err = ParseURL(pomeriumURL); err != nil {
			return "", nil, err
		}
	}
	return addr, edge, nil
}

// ParseURL parses the URL of an edge: http or https, a host, an optional port
// (443 and 80 by default), and nothing else but a lone trailing slash. The
// result's Host always has a port; its Path is empty.
func ParseURL(raw string) (*url.URL, error) {
	u, err := parseEdge(raw)
	if err != nil {
		return nil, fmt.Errorf("edge URL %s: %w", shown(raw), err)
	}
	return u, nil
}

// ParseServer is ParseURL for the URL of anything behind an edge, such as that of
// a Kubernetes API: a path is dropped.
func ParseServer(raw string) (*url.URL, error) {
	if scheme, rest, ok := strings.Cut(raw, "://"); ok && !strings.ContainsAny(raw, "@?#%") {
		authority, _, _ := strings.Cut(rest, "/")
		return ParseURL(scheme + "://" + authority)
	}
	return ParseURL(raw)
}

// NamesEdge reports whether a destination itself says which edge it belongs to:
// host:port and tcp://host:port do not.
func NamesEdge(destination string) bool {
	scheme, _, ok := strings.Cut(destination, "://")
	return ok && destinationSchemes[strings.ToLower(scheme)].path
}

// Host returns the Host header for an edge: its host, and its port unless that
// is the default one. The edge builds the sign-in's callback from this header,
// and a browser drops a default port from it, which would break the callback's
// signature. It is also how messages name the edge.
func Host(edge *url.URL) string {
	if port := edge.Port(); port != "" && port != defaultPorts[edge.Scheme] {
		return edge.Host
	}
	return strings.TrimSuffix(edge.Host, ":"+edge.Port())
}

func parseEdge(raw string) (*url.URL, error) {
	if !strings.Contains(raw, "://") {
		return nil, errors.New("has no scheme: write https://host or https://host:port")
	}
	u, err := parsePlain(raw)
	if err != nil {
		return nil, err
	}
	switch {
	case defaultPorts[u.Scheme] == "":
		return nil, fmt.Errorf("scheme %q is neither https nor http", u.Scheme)
	case u.Path != "" && u.Path != "/":
		return nil, errors.New("has a path: write https://host or https://host:port alone")
	}
	return edgeURL(u.Scheme, u.Hostname(), u.Port())
}

// splitURL takes a destination apart that is written as a URL.
func splitURL(raw string) (addr string, edge *url.URL, err error) {
	u, err := parsePlain(raw)
	if err != nil {
		return "", nil, err
	}
	scheme, ok := destinationSchemes[u.Scheme]
	if !ok {
		return "", nil, fmt.Errorf("scheme %q is not one of a destination: write %s", u.Scheme, forms)
	}
	name := firstSegment(u.Path)
	if name != "" && !scheme.path {
		return "", nil, fmt.Errorf("%s:// takes no path: write %s+https://edge/host:port", u.Scheme, u.Scheme)
	}
	if name == "" {
		if addr, err = address(u.Hostname(), u.Port()); err != nil {
			return "", nil, err
		}
		edge, err = edgeURL(scheme.edge, u.Hostname(), "")
		return addr, edge, err
	}
	if edge, err = edgeURL(scheme.edge, u.Hostname(), u.Port()); err != nil {
		return "", nil, fmt.Errorf("its edge: %w", err)
	}
	host, port, err := hostPort(name)
	if err != nil {
		return "", nil, err
	}
	addr, err = address(host, port)
	return addr, edge, err
}

// splitHostPort takes a destination apart that is not written as a URL.
func splitHostPort(raw string) (addr string, edge *url.URL, err error) {
	host, port, err := hostPort(raw)
	if err != nil {
		return "", nil, err
	}
	// A single word is more likely a slip than a route without a port.
	if !strings.HasPrefix(raw, "[") && port == "" && !strings.Contains(host, ".") {
		return "", nil, errors.New("has no port: write " + forms)
	}
	if addr, err = address(host, port); err != nil {
		return "", nil, err
	}
	edge, err = edgeURL("https", host, "")
	return addr, edge, err
}

// parsePlain parses a URL that may consist of scheme, host, port and path.
// Errors of url.Parse are not passed on: they repeat the input, passwords
// included.
func parsePlain(raw string) (*url.URL, error) {
	if strings.ContainsFunc(raw, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
		return nil, errors.New("has a blank or a control character in it")
	}
	_, rest, _ := strings.Cut(raw, "://")
	authority, _, _ := strings.Cut(rest, "/")
	u, err := url.Parse(raw)
	switch {
	case strings.Contains(authority, "@") || (err == nil && u.User != nil):
		return nil, errors.New("has a user or a password, and the edge takes neither")
	case strings.ContainsAny(raw, "?#"):
		return nil, errors.New("has a query or a fragment")
	case strings.Contains(raw, "%"):
		return nil, errors.New("has a percent sign in it")
	case err != nil:
		return nil, errors.New("is not a URL with a host and an optional port of digits")
	case strings.HasSuffix(u.Host, ":"):
		return nil, errors.New("has a colon but no port after it")
	}
	return u, nil
}

// firstSegment returns the first segment of a path that is not empty.
func firstSegment(path string) string {
	for segment := range strings.SplitSeq(path, "/") {
		if segment != "" {
			return segment
		}
	}
	return ""
}

// hostPort splits host, host:port, [v6] and [v6]:port. The port is empty if
// there is none; the host loses its brackets.
func hostPort(raw string) (host, port string, err error) {
	switch colons := strings.Count(raw, ":"); {
	case raw == "":
		return "", "", errors.New("is empty: write " + forms)
	case strings.HasPrefix(raw, "[") && strings.HasSuffix(raw, "]"):
		return raw[1 : len(raw)-1], "", nil
	case colons == 0:
		return raw, "", nil
	case colons > 1 && !strings.HasPrefix(raw, "["):
		return "", "", errors.New("has more than one colon: write an IPv6 address in brackets, [2001:db8::1]:22")
	}
	host, port, err = net.SplitHostPort(raw)
	if err != nil {
		return "", "", errors.New("is not " + forms)
	}
	if port == "" {
		return "", "", errors.New("has a colon but no port after it")
	}
	return host, port, nil
}

// address joins the host and port of a destination; no port means 443.
func address(host, port string) (string, error) {
	if port == "" {
		port = "443"
	}
	if strings.Contains(host, "*") {
		return "", errors.New("has a wildcard in it: name one host that it stands for")
	}
	return checked(host, port)
}

// edgeURL builds the URL of an edge; no port means the scheme's default.
func edgeURL(scheme, host, port string) (*url.URL, error) {
	if port == "" {
		port = defaultPorts[scheme]
	}
	addr, err := checked(host, port)
	if err != nil {
		return nil, err
	}
	return &url.URL{Scheme: scheme, Host: addr}, nil
}

// checked joins host and port after looking at both.
func checked(host, port string) (string, error) {
	host, err := checkHost(host)
	if err != nil {
		return "", err
	}
	// The length keeps out 00022, which the edge would not take for 22.
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || len(port) != len(strconv.FormatUint(n, 10)) {
		return "", fmt.Errorf("port %s is not a number from 1 to 65535", shown(port))
	}
	return net.JoinHostPort(host, port), nil
}

// checkHost accepts a host name or an IP address, and turns a name outside
// ASCII into A-labels (RFC 5891).
func checkHost(host string) (string, error) {
	if host == "" {
		return "", errors.New("has no host")
	}
	if strings.Contains(host, ":") {
		if ip, err := netip.ParseAddr(host); err != nil || ip.Zone() != "" {
			return "", errors.New("has an IPv6 address that is none, or one with a zone")
		}
		return host, nil
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r > unicode.MaxASCII }) {
		ascii, err := idna.Lookup.ToASCII(host)
		if err != nil {
			return "", errors.New("has a host name that is not a valid international one")
		}
		host = ascii
	}
	if strings.ContainsFunc(host, notInName) || strings.Trim(host, ".") == "" || len(host) > 253 {
		return "", errors.New("has a host name with characters that none has, or too long a one")
	}
	return host, nil
}

// notInName reports characters that no host name has. The underscore is in
// names that people use.
func notInName(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_', r == '.':
		return false
	}
	return true
}

// shown quotes what the user wrote, short, and without what could be a secret:
// all before an @ and all after a ? or #.
func shown(raw string) string {
	if i := strings.LastIndex(raw, "@"); i >= 0 {
		scheme, _, ok := strings.Cut(raw[:i], "://")
		if !ok {
			scheme = ""
		} else {
			scheme += "://"
		}
		raw = scheme + "xxxxx" + raw[i:]
	}
	if i := strings.IndexAny(raw, "?#"); i >= 0 {
		raw = raw[:i+1] + "..."
	}
	if len(raw) > 120 {
		raw = raw[:120] + "..."
	}
	return strconv.Quote(raw)
}
