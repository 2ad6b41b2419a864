package sysproxy

import (
	"fmt"
	"net/url"
	"strings"
)

// Settings are what a system says. They are plain data: two that were read at
// different times are deeply equal if nothing has changed.
type Settings struct {
	Source string // who says it, for messages: "GNOME settings"
	Reason string // why that one was asked

	// The first of these that is set decides, alone. None: there is no proxy.
	Script    Address              // of a proxy auto-configuration script
	Variables map[string]string    // http_proxy and its relatives, as in an environment
	Proxies   map[string][]Address // by scheme of the target, http or https, the best first; none: no proxy for it

	// Detect says that automatic detection (WPAD) is on. Then a system asks the
	// network for a script, where whoever is first to answer for the name wpad
	// chooses the proxy that passwords and tickets are shown to.
	Detect bool

	Bypass Bypass // of Script and Proxies
}

// Address is a URL that a system has.
type Address struct {
	URL     string // of a proxy, as package proxy understands it; it may hold a password
	Setting string // where it stands, for messages: "https host in GNOME settings"
}

// Error is a setting that cannot be understood. Its text holds no password.
type Error struct {
	Setting string // as in [Address]
	Err     error
}

func (e *Error) Error() string { return e.Setting + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// fail makes the error of a setting of s.
func (s *Settings) fail(setting, format string, args ...any) error {
	return &Error{Setting: s.name(setting), Err: fmt.Errorf(format, args...)}
}

// name is a setting of s in messages.
func (s *Settings) name(setting string) string { return setting + " in " + s.Source }

// add appends a proxy for targets of that scheme.
func (s *Settings) add(target, setting, proxy string) {
	if proxy == "" {
		return
	}
	if s.Proxies == nil {
		s.Proxies = make(map[string][]Address)
	}
	s.Proxies[target] = append(s.Proxies[target], Address{URL: proxy, Setting: s.name(setting)})
}

// setScript says where a script is, also as a path.
func (s *Settings) setScript(setting, script string) {
	if strings.HasPrefix(script, "/") {
		script = (&url.URL{Scheme: "file", Path: script}).String()
	}
	s.Script = Address{URL: script, Setting: s.name(setting)}
}

// saysSomething reports whether s asks for anything but no proxy.
func (s *Settings) saysSomething() bool {
	return s.Script.URL != "" || len(s.Variables) > 0 || len(s.Proxies) > 0 || s.Detect
}

// socks5 gives an address the one version of SOCKS that is spoken here: systems
// do not tell which they mean.
func socks5(addr string) string {
	if _, rest, ok := strings.Cut(addr, "://"); ok {
		addr = rest
	}
	if addr == "" {
		return ""
	}
	return "socks5://" + addr
}
