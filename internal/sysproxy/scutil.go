package sysproxy

import (
	"strings"
)

const macOSSource = "macOS settings"

// parseScutil understands what `scutil --proxy` prints: a dictionary of
// SCDynamicStoreCopyProxies, with lines "key : value". What it has for single
// interfaces, below __SCOPED__, is for programs that bind to one.
func parseScutil(output string) (Settings, error) {
	s := Settings{Source: macOSSource}
	values, exceptions := scutilValues(output)
	if values["ExcludeSimpleHostnames"] == "1" {
		exceptions = append(exceptions, "<local>")
	}
	s.Detect = values["ProxyAutoDiscoveryEnable"] == "1"
	if values["ProxyAutoConfigEnable"] == "1" {
		script := values["ProxyAutoConfigURLString"]
		if script == "" {
			return s, s.fail("ProxyAutoConfigEnable", "no ProxyAutoConfigURLString beside it")
		}
		s.setScript("ProxyAutoConfigURLString", script)
		return s, nil
	}
	for _, kind := range []string{"HTTP", "HTTPS", "SOCKS"} {
		if values[kind+"Enable"] != "1" {
			continue
		}
		addr := values[kind+"Proxy"]
		if addr == "" {
			return s, s.fail(kind+"Enable", "no %sProxy beside it", kind)
		}
		if strings.Contains(addr, ":") && !strings.HasPrefix(addr, "[") {
			addr = "[" + addr + "]"
		}
		if port := values[kind+"Port"]; port != "" {
			addr += ":" + port
		}
		switch kind {
		case "SOCKS": // for what has no other
			if len(s.Proxies["http"]) == 0 {
				s.add("http", "SOCKSProxy", socks5(addr))
			}
			if len(s.Proxies["https"]) == 0 {
				s.add("https", "SOCKSProxy", socks5(addr))
			}
		default:
			s.add(strings.ToLower(kind), kind+"Proxy", addr)
		}
	}
	if len(s.Proxies) == 0 {
		return s, nil
	}
	s.Bypass.rules = []rule{{text: "loopback", loopback: true}}
	return s, s.bypass("ExceptionsList", exceptions, exactly)
}

// scutilValues takes what is at the top of the dictionary, and the one list.
func scutilValues(output string) (values map[string]string, exceptions []string) {
	values = make(map[string]string)
	var open []string // the keys of what is around a line
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		key, value, _ := strings.Cut(line, " : ")
		switch {
		case line == "}":
			open = open[:max(0, len(open)-1)]
		case strings.HasSuffix(line, "{"):
			open = append(open, key)
		case len(open) == 1:
			values[key] = value
		case len(open) == 2 && open[1] == "ExceptionsList":
			exceptions = append(exceptions, value)
		}
	}
	return values, exceptions
}
