package cli

import (
	"net/url"
	"runtime"
	"slices"
	"strings"

	"github.com/pomerium/pomerium-cli/internal/check"
	"github.com/pomerium/pomerium-cli/internal/edge"
	"github.com/pomerium/pomerium-cli/proxy"
)

// settings lists what could have had a say in the ways to server, and says why
// what is ignored is. The ways tell what was chosen.
func (w wayOut) settings(getenv func(string) string, server *url.URL, ways []proxy.Way) []check.Setting {
	list := []check.Setting{}
	for _, raw := range w.before {
		list = append(list, check.Setting{Name: ofPreProxy, Value: shownProxy(raw), Used: true})
	}
	for _, raw := range w.proxies {
		list = append(list, check.Setting{Name: w.source, Value: shownProxy(raw), Used: true})
	}
	if own := getenv(envForwardProxy); own != "" && len(w.proxies) > 0 && w.source != envForwardProxy {
		list = append(list, check.Setting{Name: envForwardProxy, Why: w.source + " is given"})
	}
	chosen := ""
	if len(w.proxies) == 0 && len(ways) > 0 {
		chosen = ways[0].Source
	}
	list = append(list, w.variables(getenv, server, chosen)...)
	return append(list, w.exceptions(getenv, server, chosen)...)
}

// variables are those that name a proxy.
func (w wayOut) variables(getenv func(string) string, server *url.URL, chosen string) (list []check.Setting) {
	other := map[string]string{"https": "http", "http": "https"}[server.Scheme]
	names, first := proxy.Variables(server.Scheme), ""
	for _, name := range append(names, proxy.Variables(other)...) {
		value := getenv(name)
		if value == "" || slices.ContainsFunc(list, func(s check.Setting) bool { return sameVariable(s.Name, name) }) {
			continue
		}
		s := check.Setting{Name: name, Value: shownProxy(value)}
		switch {
		case len(w.proxies) > 0:
			s.Why = w.source + " is given"
		case !slices.Contains(names, name):
			s.Why = "is for " + other + ":// servers"
		case first != "":
			s.Why = first + " comes first"
		case name == chosen:
			s.Used = true
		case chosen == "loopback":
			s.Why = "the server is this machine"
		default:
			s.Why = chosen + " excepts " + edge.Host(server)
		}
		if first == "" && slices.Contains(names, name) {
			first = name
		}
		list = append(list, s)
	}
	return list
}

// exceptions are those that name what needs no proxy.
func (w wayOut) exceptions(getenv func(string) string, server *url.URL, chosen string) (list []check.Setting) {
	for _, name := range []string{"no_proxy", "NO_PROXY"} {
		value := getenv(name)
		if value == "" || len(list) > 0 && sameVariable(list[0].Name, name) {
			continue
		}
		s := check.Setting{Name: name}
		switch {
		case len(w.proxies) > 0:
			s.Why = w.source + " is given"
		case len(list) > 0:
			s.Why = list[0].Name + " comes first"
		case name == chosen:
			s.Used, s.Value = true, withoutUser(proxy.Exception(value, server))
		case chosen == "direct":
			s.Why = "no variable names a proxy"
		default:
			s.Why = "no entry is for " + edge.Host(server)
		}
		list = append(list, s)
	}
	return list
}

// sameVariable reports whether two names are the same variable, as on Windows
// two that differ in case alone are.
func sameVariable(a, b string) bool {
	return a == b || runtime.GOOS == "windows" && strings.EqualFold(a, b)
}

// shownProxy is what may be shown of a proxy setting: no user, no password, and
// nothing of a script's address that could hold one.
func shownProxy(raw string) string {
	switch {
	case raw == "direct", raw == systemWord:
		return raw
	case isScript(raw):
		u, err := url.Parse(raw)
		switch {
		case err == nil && u.Host != "":
			return u.Scheme + "://" + u.Host
		case err == nil && u.Scheme == "pac+file":
			return u.Scheme + "://" + u.Path
		}
		return "pac" // its text, perhaps
	}
	u, err := proxy.ParseURL(raw)
	if err != nil {
		return "" // it would have been an error, had it been used
	}
	return u.Scheme + "://" + u.Host
}

// withoutUser takes away what stands before an @.
func withoutUser(s string) string { return s[strings.LastIndexByte(s, '@')+1:] }
