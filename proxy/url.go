package proxy

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

// instead names what to write for schemes that look familiar.
var instead = map[string]string{
	"socks":   "socks:// does not say which version: write socks5://",
	"socks4":  "socks4:// is not spoken here: if the proxy speaks SOCKS5, write socks5://",
	"socks4a": "socks4a:// is not spoken here: if the proxy speaks SOCKS5, write socks5://",
}

// ParseURL parses the address of a proxy: a URL, or host:port for an HTTP
// proxy. User and password may be percent-encoded; a lone "/" at the end is
// dropped, and a default port put in (http 80, https 443, socks5 and socks5h
// 1080). An error says what is wrong and never repeats the value, because any
// part of a mistyped URL may be the password.
func ParseURL(raw string) (*url.URL, error) {
	if err := checkText(raw); err != nil {
		return nil, err
	}
	name, rest, ok := strings.Cut(raw, "://")
	if !ok {
		name, rest = "http", raw
	}
	name = strings.ToLower(name)
	row, ok := table()[name]
	if !ok {
		if hint := instead[name]; hint != "" {
			return nil, errors.New(hint)
		}
		return nil, errScheme
	}
	authority, err := cutAuthority(rest)
	if err != nil {
		return nil, err
	}
	u := &url.URL{Scheme: name}
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		if u.User, err = parseUser(authority[:at]); err != nil {
			return nil, err
		}
		if err := row.credentials(u.User); err != nil {
			return nil, err
		}
		authority = authority[at+1:]
	}
	u.Host, err = parseHost(authority, row.port)
	return u, err
}

func checkText(raw string) error {
	switch {
	case raw == "":
		return errors.New("the proxy address is empty")
	case strings.ContainsFunc(raw, unicode.IsControl):
		return errors.New("the proxy address has a control character or line break")
	case strings.ContainsAny(raw[:1], `"'`):
		return errors.New("the proxy address is in quotes: remove them")
	case strings.ContainsFunc(raw, unicode.IsSpace):
		return errors.New("the proxy address has a space; in a user name or password write it as %20")
	}
	return nil
}

// cutAuthority returns what is before path, query and fragment, which have to be
// empty.
func cutAuthority(rest string) (string, error) {
	end := strings.IndexAny(rest, `/?#\`)
	if end < 0 || rest[end:] == "/" {
		return strings.TrimSuffix(rest, "/"), nil
	}
	special := rest[end : end+1]
	if strings.Contains(rest[end:], "@") {
		return "", fmt.Errorf("a %q stands before the @: in a user name or password write it as %%%02X", special, special[0])
	}
	part := map[string]string{"/": "path", "?": "query", "#": "fragment", `\`: "backslash"}[special]
	return "", fmt.Errorf("a proxy address has no %s", part)
}

func parseUser(info string) (*url.Userinfo, error) {
	if strings.Contains(info, "@") {
		return nil, errors.New("there is more than one @: in a user name or password write it as %40")
	}
	if info == "" {
		return nil, nil
	}
	name, secret, hasSecret := strings.Cut(info, ":")
	user, err1 := url.PathUnescape(name)
	password, err2 := url.PathUnescape(secret)
	switch {
	case err1 != nil, err2 != nil:
		return nil, errors.New("the user name or password has a % that is not followed by two hexadecimal digits: write it as %25")
	case hasSecret:
		return url.UserPassword(user, password), nil
	}
	return url.User(user), nil
}

// parseHost returns host:port in the form of a URL's Host.
func parseHost(authority, port string) (string, error) {
	var host string
	if strings.HasPrefix(authority, "[") {
		inside, after, ok := strings.Cut(authority[1:], "]")
		if !ok || after != "" && after[0] != ':' {
			return "", errors.New("the brackets around the IPv6 address are not closed, or text follows them")
		}
		ip, err := netip.ParseAddr(strings.Replace(inside, "%25", "%", 1))
		if err != nil || !ip.Is6() || strings.ContainsFunc(ip.Zone(), notInHost) {
			return "", errors.New("there is no IPv6 address in the brackets")
		}
		host = ip.String()
		port = orDefault(strings.TrimPrefix(after, ":"), port)
	} else {
		name, text, _ := strings.Cut(authority, ":")
		if strings.Contains(text, ":") {
			return "", errors.New("there is more than one colon in host and port; an IPv6 address is written in brackets")
		}
		if name == "" {
			return "", errors.New("the proxy address has no host")
		}
		var err error
		if host, err = asciiHost(name); err != nil {
			return "", err
		}
		port = orDefault(text, port)
	}
	n, err := parsePort(port)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(host, strconv.Itoa(int(n))), nil
}

func orDefault(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// canonical is the target as proxies are asked for it: ASCII name or address,
// brackets around IPv6, port. A trailing dot stays: who writes it means it.
func canonical(addr string) (string, error) {
	host, port, err := splitAddr(addr)
	if err != nil {
		return "", err
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.Zone() != "" {
			return "", fmt.Errorf("address %q has a zone, which means something only on this machine: a proxy cannot reach it", addr)
		}
		host = ip.String()
	} else if host, err = asciiHost(host); err != nil {
		return "", fmt.Errorf("address %q: %w", addr, err)
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port))), nil
}

// asciiHost returns the A-label form of a name. Underscores pass: DNS allows
// them, and internal names have them.
func asciiHost(host string) (string, error) {
	if strings.ContainsFunc(host, func(r rune) bool { return r > unicode.MaxASCII }) {
		ascii, err := idna.Lookup.ToASCII(host)
		if err != nil {
			return "", errors.New("the host name is not a valid internationalized name")
		}
		host = ascii
	}
	if host == "" || strings.ContainsFunc(host, notInHost) {
		return "", errors.New("the host name has a character that no host name has")
	}
	if len(host) > 255 {
		return "", errors.New("the host name is longer than 255 bytes")
	}
	return host, nil
}

func notInHost(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
}
