package pac

import (
	"net/netip"
	"regexp"
	"strings"

	"github.com/dop251/goja"
)

// functions are what a script may call beside the language's own: those of
// Netscape's "Navigator Proxy Auto-Config File Format" of 1996, and those that
// Microsoft added for IPv6. Where browsers differ from the paper they are
// followed, because scripts are tried on browsers.
func (e *engine) functions() map[string]any {
	return map[string]any{
		"isPlainHostName":     isPlainHostName,
		"dnsDomainIs":         strings.HasSuffix,
		"localHostOrDomainIs": localHostOrDomainIs,
		"dnsDomainLevels":     func(host string) int { return strings.Count(host, ".") },
		"shExpMatch":          shExpMatch,
		"convert_addr":        convertAddr,
		"isResolvable":        func(host string) bool { return e.ipv4(host).IsValid() },
		"dnsResolve":          e.dnsResolve,
		"isInNet":             e.isInNet,
		"myIpAddress":         e.myIPAddress,
		"weekdayRange":        func(c goja.FunctionCall) goja.Value { return e.vm.ToValue(weekdayRange(e.env.Now(), texts(c))) },
		"dateRange":           func(c goja.FunctionCall) goja.Value { return e.vm.ToValue(dateRange(e.env.Now(), texts(c))) },
		"timeRange":           func(c goja.FunctionCall) goja.Value { return e.vm.ToValue(timeRange(e.env.Now(), texts(c))) },
		"alert":               e.alert,
		"isResolvableEx":      func(host string) bool { return len(e.resolve(host)) > 0 },
		"dnsResolveEx":        func(host string) string { return joinAddrs(e.resolve(host)) },
		"isInNetEx":           e.isInNetEx,
		"myIpAddressEx":       func() string { return joinAddrs(e.local()) },
		"sortIpAddressList":   sortIPAddressList,
		"getClientVersion":    func() string { return "1.0" },
	}
}

func texts(c goja.FunctionCall) []string {
	args := make([]string, len(c.Arguments))
	for i, arg := range c.Arguments {
		args[i] = arg.String()
	}
	return args
}

// An IPv6 address is no plain name, although it has no dot.
func isPlainHostName(host string) bool { return !strings.ContainsAny(host, ".:") }

func localHostOrDomainIs(host, full string) bool {
	return host == full || strings.HasPrefix(full, host+".")
}

// shExpMatch knows * and ?; all else goes to a regular expression as it is, as
// in browsers, so that (a|b) and [0-9] do what scripts rely on. The engine is
// Go's, in which no pattern takes more than linear time. A pattern that is no
// regular expression is taken at its letters.
func shExpMatch(text, pattern string) bool {
	if !strings.ContainsAny(pattern, `+$^()[]{}|\`) {
		return glob(text, pattern)
	}
	re, err := regexp.Compile("^" + strings.NewReplacer(".", `\.`, "*", ".*", "?", ".").Replace(pattern) + "$")
	if err != nil {
		return glob(text, pattern)
	}
	return re.MatchString(text)
}

// glob is for what nearly all patterns are. Scripts have thousands of them, and
// a regular expression takes a hundred times as long to compile.
func glob(text, pattern string) bool {
	star, mark := -1, 0 // the last * of the pattern, and the text up to which it reaches
	t, p := 0, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			t++
			p++
		case star >= 0:
			mark++
			t, p = mark, star+1
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

func (e *engine) alert(message string) {
	e.env.Log.Debug("pac alert", "script", e.name, "message", printable(message))
}

func (e *engine) dnsResolve(host string) any {
	if ip := e.ipv4(host); ip.IsValid() {
		return ip.String()
	}
	return nil // null
}

// isInNet compares where the mask has ones, which need not be a prefix.
func (e *engine) isInNet(host, pattern, mask string) bool {
	net, err := netip.ParseAddr(pattern)
	bits, err2 := netip.ParseAddr(mask)
	if err != nil || err2 != nil || !net.Is4() || !bits.Is4() {
		return false
	}
	ip := e.ipv4(host)
	if !ip.IsValid() {
		return false
	}
	a, b, m := ip.As4(), net.As4(), bits.As4()
	for i := range m {
		if a[i]&m[i] != b[i]&m[i] {
			return false
		}
	}
	return true
}

func (e *engine) isInNetEx(host, prefix string) bool {
	net, err := netip.ParsePrefix(prefix)
	if err != nil {
		return false
	}
	for _, ip := range e.resolve(host) {
		if net.Contains(ip) {
			return true
		}
	}
	return false
}

func (e *engine) myIPAddress() string {
	for _, ip := range e.local() {
		if ip.Is4() {
			return ip.String()
		}
	}
	return "127.0.0.1"
}
