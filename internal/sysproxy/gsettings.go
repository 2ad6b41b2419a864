package sysproxy

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	gnomeSource = "GNOME settings"
	gnomeSchema = "org.gnome.system.proxy"
)

// parseGSettings understands what `gsettings list-recursively` prints for the
// schema: lines of schema, key and value. The meaning is that of
// glib-networking: a host for https, else that for http, else that for socks;
// use-same-proxy is about other schemes than these.
func parseGSettings(output string) (Settings, error) {
	s := Settings{Source: gnomeSource}
	g := gsettings{values: make(map[string]string)}
	for line := range strings.Lines(output) {
		if schema, rest, ok := strings.Cut(strings.TrimSpace(line), " "); ok && strings.HasPrefix(schema, gnomeSchema) {
			key, value, _ := strings.Cut(rest, " ")
			g.values[strings.TrimPrefix(schema[len(gnomeSchema):]+" "+key, ".")] = value
		}
	}
	switch mode := g.text(" mode"); {
	case g.err != nil:
	case mode == "none":
		return s, nil
	case mode == "auto":
		if script := g.text(" autoconfig-url"); script != "" {
			s.setScript("autoconfig-url", script)
		} else {
			s.Detect = true
		}
	case mode == "manual":
		g.manual(&s)
	default:
		return s, s.fail("mode", "%q is none of none, manual and auto", mode)
	}
	hosts := g.list(" ignore-hosts")
	if g.err != nil {
		return s, s.fail(g.key, "%w", g.err)
	}
	return s, s.bypass("ignore-hosts", hosts, domains)
}

// gsettings are values as GVariant prints them, by "child key". The first that
// cannot be understood is remembered.
type gsettings struct {
	values map[string]string
	key    string // of err
	err    error
}

func (g *gsettings) manual(s *Settings) {
	http, https, socks := g.proxy("http"), g.proxy("https"), socks5(g.proxy("socks"))
	for _, target := range []string{"http", "https"} {
		switch {
		case target == "https" && https != "":
			s.add(target, "https host", https)
		case http != "":
			s.add(target, "http host", http)
		default:
			s.add(target, "socks host", socks)
		}
	}
}

// proxy is the URL that a child of the schema has, or "".
func (g *gsettings) proxy(child string) string {
	host, port := g.text(child+" host"), g.number(child+" port")
	if host == "" {
		return ""
	}
	scheme, name, ok := strings.Cut(host, "://")
	if !ok {
		scheme, name = "http", host
	}
	if strings.Count(name, ":") > 1 && !strings.HasPrefix(name, "[") {
		name = "[" + name + "]"
	}
	user := ""
	if g.values[child+" use-authentication"] == "true" {
		if name := g.text(child + " authentication-user"); name != "" {
			user = url.UserPassword(name, g.text(child+" authentication-password")).String() + "@"
		}
	}
	if port != 0 {
		name += ":" + strconv.Itoa(port)
	}
	return scheme + "://" + user + name
}

func (g *gsettings) fail(key string, err error) {
	if g.err == nil {
		g.key, g.err = strings.TrimSpace(key), err
	}
}

// number is 0 without a value.
func (g *gsettings) number(key string) int {
	value := g.values[key]
	if value == "" {
		return 0
	}
	n, err := strconv.ParseUint(value, 10, 16)
	if err != nil {
		g.fail(key, errNoPort)
	}
	return int(n)
}

// text is "" without a value.
func (g *gsettings) text(key string) string {
	value := g.values[key]
	if value == "" {
		return ""
	}
	text, rest, err := cutGString(value)
	if err == nil && rest != "" {
		err = errGString
	}
	if err != nil {
		g.fail(key, err)
	}
	return text
}

func (g *gsettings) list(key string) []string {
	value := strings.TrimPrefix(g.values[key], "@as ")
	if value == "" {
		return nil
	}
	inside, ok := strings.CutPrefix(value, "[")
	inside, ok2 := strings.CutSuffix(inside, "]")
	if !ok || !ok2 {
		g.fail(key, errGList)
		return nil
	}
	var all []string
	for inside != "" {
		text, rest, err := cutGString(inside)
		if err != nil {
			g.fail(key, err)
			return nil
		}
		all = append(all, text)
		if inside = strings.TrimPrefix(rest, ", "); inside == rest && rest != "" {
			g.fail(key, errGList)
			return nil
		}
	}
	return all
}

var (
	errNoPort  = errors.New("not a port")
	errGString = errors.New("not a text as gsettings prints it")
	errGList   = errors.New("not a list as gsettings prints it")
)

// cutGString takes a text in single or double quotes off the front. Its errors
// do not repeat it: it may be a password.
func cutGString(value string) (text, rest string, err error) {
	if value == "" || value[0] != '\'' && value[0] != '"' {
		return "", "", errGString
	}
	var b strings.Builder
	for i := 1; i < len(value); i++ {
		switch c := value[i]; {
		case c == value[0]:
			return b.String(), value[i+1:], nil
		case c != '\\':
			b.WriteByte(c)
		default:
			r, size := gEscape(value[i+1:])
			if size == 0 {
				return "", "", errGString
			}
			b.WriteRune(r)
			i += size
		}
	}
	return "", "", errGString
}

// gEscape is the character that the text behind a backslash begins with, and
// the length of what says so: 0 for none.
func gEscape(text string) (r rune, size int) {
	if text == "" {
		return 0, 0
	}
	if digits := map[byte]int{'u': 4, 'U': 8}[text[0]]; digits > 0 {
		if len(text) <= digits {
			return 0, 0
		}
		n, err := strconv.ParseUint(text[1:1+digits], 16, 31)
		if err != nil || !utf8.ValidRune(rune(n)) {
			return 0, 0
		}
		return rune(n), 1 + digits
	}
	const letters, mean = "abfnrtv", "\a\b\f\n\r\t\v"
	if at := strings.IndexByte(letters, text[0]); at >= 0 {
		return rune(mean[at]), 1
	}
	return utf8.DecodeRuneInString(text)
}
