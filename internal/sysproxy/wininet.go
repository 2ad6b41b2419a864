package sysproxy

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
)

const windowsSource = "Windows settings"

// internetSettings are the values of the registry's key Internet Settings: those
// of the user, or of the machine where a policy says so.
type internetSettings struct {
	ProxyEnable   uint64
	ProxyServer   string
	ProxyOverride string
	AutoConfigURL string

	DefaultConnectionSettings []byte // has the flag for automatic detection
	WinHTTPSettings           []byte // of the machine's services, for when nothing else is set
}

// settings understands them as WinINET does, but a script that cannot be had is
// not made up for by the proxies.
func (v internetSettings) settings() (Settings, error) {
	s := Settings{Source: windowsSource}
	const connections = "DefaultConnectionSettings"
	c, err := parseConnection(v.DefaultConnectionSettings)
	if err != nil {
		return s, s.fail(connections, "%w", err)
	}
	s.Detect = c.flags&flagDetect != 0
	switch {
	case v.AutoConfigURL != "":
		s.setScript("AutoConfigURL", v.AutoConfigURL)
		return s, nil
	case c.flags&flagScript != 0 && c.script != "":
		s.setScript(connections, c.script)
		return s, nil
	case v.ProxyEnable != 0:
		s.windowsProxies("ProxyServer", v.ProxyServer)
		return s, s.windowsBypass("ProxyOverride", v.ProxyOverride)
	}
	const winHTTP = "WinHttpSettings"
	if c, err = parseConnection(v.WinHTTPSettings); err != nil {
		return s, s.fail(winHTTP, "%w", err)
	}
	if c.flags&flagProxy == 0 {
		return s, nil
	}
	s.windowsProxies(winHTTP, c.server)
	return s, s.windowsBypass(winHTTP, c.override)
}

func separator(r rune) bool { return r == ';' || r == ' ' || r == '\t' || r == '\r' || r == '\n' }

// windowsProxies understands both forms of a list: host:port for all, and
// https=host:port;socks=host:port. That for SOCKS serves what has no other.
func (s *Settings) windowsProxies(setting, list string) {
	named := make(map[string][]string)
	for _, entry := range strings.FieldsFunc(list, separator) {
		scheme, addr, ok := strings.Cut(entry, "=")
		if !ok {
			scheme, addr = "", entry
		}
		scheme = strings.ToLower(scheme)
		named[scheme] = append(named[scheme], addr)
	}
	for _, target := range []string{"http", "https"} {
		for _, addr := range slices.Concat(named[target], named[""]) {
			s.add(target, setting, addr)
		}
		if len(s.Proxies[target]) > 0 {
			continue
		}
		for _, addr := range named["socks"] {
			s.add(target, setting, socks5(addr))
		}
	}
}

// windowsBypass understands patterns with *, <local> for names without a dot,
// and <-loopback>, without which this machine is excepted.
func (s *Settings) windowsBypass(setting, list string) error {
	var entries []string
	implied := rule{text: "loopback", loopback: true}
	for _, entry := range strings.FieldsFunc(list, separator) {
		if strings.EqualFold(entry, "<-loopback>") {
			implied.loopback = false
			continue
		}
		entries = append(entries, entry)
	}
	if implied.loopback {
		s.Bypass.rules = append(s.Bypass.rules, implied)
	}
	return s.bypass(setting, entries, exactly)
}

// Flags of a connection.
const (
	flagProxy  = 2
	flagScript = 4
	flagDetect = 8
)

// connection is what the blobs DefaultConnectionSettings and WinHttpSettings have.
type connection struct {
	flags                    uint32
	server, override, script string
}

var errBlob = errors.New("the value ends too early")

// parseConnection understands a blob: version, counter and flags, then up to
// three texts with their length in front, all numbers 32 bits in little-endian
// order. Microsoft does not document it. Nothing is no blob.
func parseConnection(blob []byte) (c connection, err error) {
	if len(blob) == 0 {
		return c, nil
	}
	const head = 12
	if len(blob) < head {
		return c, errBlob
	}
	c.flags = binary.LittleEndian.Uint32(blob[8:])
	blob = blob[head:]
	for _, text := range []*string{&c.server, &c.override, &c.script} {
		if len(blob) == 0 {
			break
		}
		if len(blob) < 4 {
			return c, errBlob
		}
		n := uint64(binary.LittleEndian.Uint32(blob))
		if blob = blob[4:]; n > uint64(len(blob)) {
			return c, errBlob
		}
		*text, blob = string(blob[:n]), blob[n:]
	}
	return c, nil
}
