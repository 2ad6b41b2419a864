package sysproxy

import (
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Bypass is the list of hosts that a system reaches without a proxy. The zero
// value is empty. Names are compared as they are given: nothing is looked up.
type Bypass struct {
	setting  string
	reversed bool // these hosts alone are reached through a proxy
	rules    []rule
}

// rule is an entry of the list.
type rule struct {
	text     string       // as the system has it
	scheme   string       // of the target; empty: any
	port     string       // the same
	hosts    []string     // patterns in lower case, * is any text
	prefix   netip.Prefix // of an address
	local    bool         // names without a dot
	loopback bool         // this machine, and the link
}

// Match says whether a target, a URL with the scheme http or https, is reached
// without a proxy, and which entry says so.
func (b Bypass) Match(target *url.URL) (why string, ok bool) {
	at := slices.IndexFunc(b.rules, func(r rule) bool { return r.matches(target) })
	switch {
	case b.reversed:
		return "no entry of " + b.setting, at < 0
	case at < 0:
		return "", false
	}
	return strconv.Quote(b.rules[at].text) + " of " + b.setting, true
}

func (r rule) matches(target *url.URL) bool {
	host := strings.TrimSuffix(strings.ToLower(target.Hostname()), ".")
	port := target.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[target.Scheme]
	}
	if r.scheme != "" && r.scheme != target.Scheme || r.port != "" && r.port != port {
		return false
	}
	ip, _ := netip.ParseAddr(host)
	ip = ip.Unmap().WithZone("")
	switch {
	case r.local:
		return !ip.IsValid() && !strings.Contains(host, ".")
	case r.loopback:
		return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip.IsLoopback() || ip.IsLinkLocalUnicast()
	case r.prefix.IsValid():
		return r.prefix.Contains(ip)
	}
	return slices.ContainsFunc(r.hosts, func(pattern string) bool { return glob(pattern, host) })
}

// glob reports whether s is what pattern says, where * is any text.
func glob(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	s, ok := strings.CutPrefix(s, parts[0])
	for _, part := range parts[1 : len(parts)-1] {
		if ok {
			_, s, ok = strings.Cut(s, part)
		}
	}
	return ok && strings.HasSuffix(s, parts[len(parts)-1])
}

// Systems differ in what a name means that is an entry.

// domains: GNOME. The name and all below it, also with "." or "*." in front.
func domains(name string) []string {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "*."), ".")
	return []string{name, "*." + name}
}

// suffixes: KDE. All that ends so.
func suffixes(name string) []string { return []string{"*" + name} }

// exactly: Windows and macOS. That name, but "." in front means all below.
func exactly(name string) []string {
	if strings.HasPrefix(name, ".") {
		name = "*" + name
	}
	return []string{name}
}

// bypass understands the entries of a setting; hosts makes patterns of a name.
func (s *Settings) bypass(setting string, entries []string, hosts func(string) []string) error {
	s.Bypass.setting = s.name(setting)
	for _, entry := range entries {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		r, err := parseRule(entry, hosts)
		if err != nil {
			return s.fail(setting, "%q: %w", entry, err)
		}
		s.Bypass.rules = append(s.Bypass.rules, r)
	}
	return nil
}

var (
	errRange = errors.New("not a range of addresses, such as 10.0.0.0/8")
	errPort  = errors.New("not a port after the colon")
)

// parseRule understands what the systems have in common: [scheme://]host[:port],
// addresses, ranges of addresses, <local>.
func parseRule(entry string, hosts func(string) []string) (rule, error) {
	r := rule{text: entry}
	host := strings.ToLower(entry)
	if host == "<local>" {
		r.local = true
		return r, nil
	}
	if scheme, rest, ok := strings.Cut(host, "://"); ok {
		r.scheme, host = scheme, strings.TrimSuffix(rest, "/")
	}
	if strings.Contains(host, "/") {
		var ok bool
		if r.prefix, ok = parseRange(host); !ok {
			return r, errRange
		}
		return r, nil
	}
	if name, port, ok := cutPort(host); ok {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return r, errPort
		}
		r.port, host = port, name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap().WithZone("")
		r.prefix = netip.PrefixFrom(ip, ip.BitLen())
		return r, nil
	}
	r.hosts = hosts(strings.TrimSuffix(host, "."))
	return r, nil
}

// cutPort splits at the colon that is neither within brackets nor in an address.
func cutPort(host string) (name, port string, ok bool) {
	at := strings.LastIndexByte(host, ':')
	if _, err := netip.ParseAddr(host); err == nil || at < 0 || at < strings.LastIndexByte(host, ']') {
		return host, "", false
	}
	return host[:at], host[at+1:], true
}

// parseRange understands CIDR, and 169.254/16 as macOS has it.
func parseRange(text string) (netip.Prefix, bool) {
	ip, bits, _ := strings.Cut(text, "/")
	if !strings.Contains(ip, ":") {
		ip += strings.Repeat(".0", max(0, 3-strings.Count(ip, ".")))
	}
	prefix, err := netip.ParsePrefix(ip + "/" + bits)
	return prefix.Masked(), err == nil
}
