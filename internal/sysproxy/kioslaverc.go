package sysproxy

import (
	"os"
	"strings"
)

const kdeSource = "KDE settings"

// parseKIO understands the files kioslaverc, the least important first: those of
// the machine, then the user's. The meaning is that of KIO's KProtocolManager,
// which leaves kdeglobals out; but nothing is looked up for a range of addresses.
func parseKIO(files []string, getenv func(string) string) (Settings, error) {
	s := Settings{Source: kdeSource}
	k := make(kioGroup)
	for _, text := range files {
		k.read(text, getenv)
	}
	switch kind := k.value("ProxyType"); kind {
	case "", "0":
		return s, nil
	case "1":
		k.proxies(&s, func(value string) string { return value })
		return s, k.bypass(&s, k.value("NoProxyFor"), k.value("ReversedException"))
	case "2":
		script := k.value("Proxy Config Script")
		if script == "" {
			return s, s.fail("Proxy Config Script", "empty")
		}
		s.setScript("Proxy Config Script", script)
		return s, nil
	case "3":
		s.Detect = true
		return s, nil
	case "4": // the values are names of variables
		k.proxies(&s, getenv)
		return s, k.bypass(&s, getenv(k.value("NoProxyFor")), "")
	default:
		return s, s.fail("ProxyType", "%q is none of 0 to 4", kind)
	}
}

// kioGroup has the entries of the group "Proxy Settings".
type kioGroup map[string]kioEntry

type kioEntry struct {
	value  string
	locked bool // a more important file cannot change it
}

func (k kioGroup) value(key string) string { return k[key].value }

// read takes the entries of one file, in the format of KConfig: a file, a
// group or a key that is marked [$i] is locked, [$e] wants variables put in.
func (k kioGroup) read(text string, getenv func(string) string) {
	const group = "[Proxy Settings]"
	const lock = "\x00" // no key is called so
	inside, locksAll := false, k[lock].locked
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			name, flags, _ := strings.Cut(line, "[$")
			inside = name == group
			if (inside || name == "") && strings.Contains(flags, "i") {
				k[lock] = kioEntry{locked: true}
			}
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key, flags, _ := strings.Cut(strings.TrimSpace(key), "[$")
		if key = strings.TrimSpace(key); !ok || !inside || strings.HasPrefix(key, "#") || locksAll || k[key].locked {
			continue
		}
		value = kioEscapes(strings.TrimSpace(value))
		if strings.Contains(flags, "e") {
			value = os.Expand(value, getenv)
		}
		k[key] = kioEntry{value: value, locked: strings.Contains(flags, "i")}
	}
}

func kioEscapes(value string) string {
	if !strings.Contains(value, `\`) {
		return value
	}
	return strings.NewReplacer(`\\`, `\`, `\s`, " ", `\t`, "\t").Replace(value)
}

// proxies adds what is in the entries, or where they lead. That for SOCKS is an
// alternative to the others.
func (k kioGroup) proxies(s *Settings, lead func(string) string) {
	socks := socks5(kioAddress(lead(k.value("socksProxy"))))
	for _, target := range []string{"http", "https"} {
		s.add(target, target+"Proxy", kioAddress(lead(k.value(target+"Proxy"))))
		s.add(target, "socksProxy", socks)
	}
}

// kioAddress makes http://host:port of http://host port.
func kioAddress(value string) string {
	value = strings.TrimSpace(value)
	if strings.HasPrefix(value, "//:") { // how KDE 3 wrote none
		return ""
	}
	if at := strings.LastIndexByte(value, ' '); at >= 0 {
		return value[:at] + ":" + value[at+1:]
	}
	return value
}

func (k kioGroup) bypass(s *Settings, list, reversed string) error {
	s.Bypass.reversed = reversed == "true" || reversed == "1"
	return s.bypass("NoProxyFor", strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }), suffixes)
}
