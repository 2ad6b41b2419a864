package kubecred

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Section is a top-level list of a kubeconfig.
type Section string

// The sections that a cluster behind Pomerium needs an entry in.
const (
	Clusters Section = "clusters"
	Users    Section = "users"
	Contexts Section = "contexts"
)

// Cluster is what a kubeconfig says of a cluster behind Pomerium.
type Cluster struct {
	Name     string // of the cluster, the user and the context
	Server   string // URL of the API server
	CAFile   string // PEM file to trust; may be empty
	CAData   string // the same as base64 text
	Insecure bool   // do not verify the server's certificate
	Proxy    string // URL of the forward proxy; may be empty

	Version string   // v1 or v1beta1
	Command string   // this program
	Args    []string // with which it is the plugin
}

// Entry writes the entry for one of the sections.
func (c Cluster) Entry(s Section) string {
	var b strings.Builder
	line := func(indent int, key, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%*s%s: %s\n", indent, "", key, value)
		}
	}
	fmt.Fprintf(&b, "- name: %s\n", quote(c.Name))
	switch s {
	case Clusters:
		b.WriteString("  cluster:\n")
		line(4, "server", quote(c.Server))
		line(4, "certificate-authority", quote(c.CAFile))
		line(4, "certificate-authority-data", quote(c.CAData))
		if c.Insecure {
			line(4, "insecure-skip-tls-verify", "true")
		}
		line(4, "proxy-url", quote(c.Proxy))
	case Users:
		b.WriteString("  user:\n    exec:\n")
		line(6, "apiVersion", quote(group+c.Version))
		line(6, "command", quote(c.Command))
		b.WriteString("      args:\n")
		for _, a := range c.Args {
			b.WriteString("      - " + quote(a) + "\n")
		}
		line(6, "interactiveMode", "IfAvailable")
	case Contexts:
		b.WriteString("  context:\n")
		line(4, "cluster", quote(c.Name))
		line(4, "user", quote(c.Name))
	}
	return b.String()
}

// quote writes a string in YAML as JSON does (YAML 1.2 section 5.7); "" for none.
func quote(s string) string {
	if s == "" {
		return ""
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string cannot fail
	return strings.TrimSpace(b.String())
}

// Kubeconfig is the text of a kubeconfig, changed in place: what is not meant
// stays as it is, comments, order and all. It understands block style, as
// kubectl and people write it, and refuses the rest rather than guess.
type Kubeconfig struct{ lines []string }

// ErrStyle says that a kubeconfig is written in a way that is not changed here.
var ErrStyle = errors.New("is written in a style that is not changed here")

// ParseKubeconfig reads a kubeconfig. An error is one around ErrStyle.
func ParseKubeconfig(text string) (*Kubeconfig, error) {
	k := &Kubeconfig{lines: strings.SplitAfter(text, "\n")}
	if last := len(k.lines) - 1; k.lines[last] == "" {
		k.lines = k.lines[:last]
	}
	seen := make(map[string]bool)
	started := false
	for n, line := range k.lines {
		bad := func(why string) (*Kubeconfig, error) {
			return nil, fmt.Errorf("line %d: %s: it %w", n+1, why, ErrStyle)
		}
		switch {
		case blank(line):
		case strings.HasPrefix(strings.TrimLeft(line, " "), "\t"):
			return bad("a tab")
		case indent(line) > 0:
			if !started {
				return bad("it begins with a blank")
			}
		case strings.HasPrefix(line, "---") && !started && blank(line[3:]):
		case item(line):
			if !started {
				return bad("a list")
			}
		default:
			key, _, ok := strings.Cut(line, ":")
			if !ok || !plainKey(key) || seen[key] {
				return bad("not a plain key, or a second one")
			}
			seen[key], started = true, true
		}
	}
	return k, nil
}

// String is the text.
func (k *Kubeconfig) String() string { return strings.Join(k.lines, "") }

// Has reports whether a section has an entry of that name.
func (k *Kubeconfig) Has(s Section, name string) bool {
	start, end, err := k.section(s)
	if err != nil || start < 0 {
		return false
	}
	for _, e := range k.entries(start+1, end) {
		if e.name == name {
			return true
		}
	}
	return false
}

// Set puts an entry into a section, in place of one with that name, or behind
// the others. A context of that name that joins cluster and user of the name
// stays: people add a namespace to it.
func (k *Kubeconfig) Set(s Section, name, entry string) error {
	start, end, err := k.section(s)
	if err != nil {
		return err
	}
	if start < 0 {
		k.append(string(s) + ":\n" + entry)
		return nil
	}
	if value(k.lines[start]) != "" { // an empty list or null
		k.lines[start] = string(s) + ":\n"
	}
	at, until := -1, -1
	shift := 0
	for _, e := range k.entries(start+1, end) {
		if e.odd {
			return fmt.Errorf("line %d: an entry of %s: it %w", e.start+1, s, ErrStyle)
		}
		shift = indent(k.lines[e.start])
		if at = e.end; e.name != name {
			continue
		}
		if s == Contexts && k.joins(e) {
			return nil
		}
		at, until = e.start, e.end
		break
	}
	if at < 0 {
		at = start + 1
	}
	if until < 0 {
		until = at
	}
	if at > 0 && !strings.HasSuffix(k.lines[at-1], "\n") {
		k.lines[at-1] += "\n"
	}
	var fresh []string
	for line := range strings.SplitAfterSeq(entry, "\n") {
		if line != "" {
			fresh = append(fresh, strings.Repeat(" ", shift)+line)
		}
	}
	k.lines = append(k.lines[:at:at], append(fresh, k.lines[until:]...)...)
	return nil
}

// joins reports whether a context is of the cluster and the user of its name.
func (k *Kubeconfig) joins(e entry) bool {
	var cluster, user bool
	for _, line := range k.lines[e.start:e.end] {
		switch key, _, _ := strings.Cut(strings.TrimSpace(line), ":"); {
		case unquote(value(line)) != e.name:
		case key == "cluster":
			cluster = true
		case key == "user":
			user = true
		}
	}
	return cluster && user
}

// Current is the current context; "" for none.
func (k *Kubeconfig) Current() string {
	if n := k.find("current-context"); n >= 0 {
		return unquote(value(k.lines[n]))
	}
	return ""
}

// SetCurrent makes a context the current one.
func (k *Kubeconfig) SetCurrent(name string) error {
	const key = "current-context"
	n := k.find(key)
	switch {
	case n < 0:
		k.append(key + ": " + quote(name) + "\n")
	case k.Current() == name:
	case n+1 < len(k.lines) && indent(k.lines[n+1]) > 0 && !blank(k.lines[n+1]):
		return fmt.Errorf("line %d: it %w", n+1, ErrStyle)
	default:
		k.lines[n] = key + ": " + quote(name) + "\n"
	}
	return nil
}

func (k *Kubeconfig) append(text string) {
	if n := len(k.lines); n > 0 && !strings.HasSuffix(k.lines[n-1], "\n") {
		k.lines[n-1] += "\n"
	}
	k.lines = append(k.lines, strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")...)
	k.lines[len(k.lines)-1] += "\n"
}

// find returns the line of a top-level key, or -1.
func (k *Kubeconfig) find(key string) int {
	for n, line := range k.lines {
		if strings.HasPrefix(line, key+":") {
			return n
		}
	}
	return -1
}

// section returns the line of a section's key and the line behind the last that
// belongs to it; -1 if there is none.
func (k *Kubeconfig) section(s Section) (start, end int, err error) {
	start = k.find(string(s))
	if start < 0 {
		return -1, -1, nil
	}
	switch value(k.lines[start]) {
	case "", "[]", "null", "~":
	default:
		return 0, 0, fmt.Errorf("line %d: %s in flow style: it %w", start+1, s, ErrStyle)
	}
	end = start + 1
	for n := end; n < len(k.lines); n++ {
		line := k.lines[n]
		if !blank(line) && indent(line) == 0 && !item(line) {
			break
		}
		if !blank(line) { // blanks and comments at the end belong to what follows
			end = n + 1
		}
	}
	if end > start+1 && value(k.lines[start]) != "" {
		return 0, 0, fmt.Errorf("line %d: %s: it %w", start+1, s, ErrStyle)
	}
	return start, end, nil
}

// entry is one entry of a section: its lines, from start to before end.
type entry struct {
	start, end int
	name       string
	odd        bool // not understood
}

// entries finds the entries between two lines.
func (k *Kubeconfig) entries(from, to int) []entry {
	var all []entry
	outer := -1
	for n := from; n < to; n++ {
		line := k.lines[n]
		if blank(line) {
			continue
		}
		if outer < 0 {
			outer = indent(line)
		}
		if indent(line) == outer && item(line[outer:]) {
			all = append(all, entry{start: n, end: n + 1})
			e := &all[len(all)-1]
			rest := strings.TrimLeft(line[outer+1:], " ")
			inner := len(line) - len(rest)
			e.odd = blank(rest) || strings.ContainsAny(rest[:1], "{[*&!?|>\"'")
			e.name, _ = nameIn(rest)
			e.read(k.lines, to, inner, outer)
			continue
		}
		if len(all) == 0 {
			return []entry{{start: n, end: n + 1, odd: true}}
		}
		if indent(line) <= outer {
			all[len(all)-1].odd = true
		}
	}
	return all
}

// read looks through the lines of an entry behind its first one.
func (e *entry) read(lines []string, to, inner, outer int) {
	for n := e.start; n < to; n++ {
		line := lines[n]
		if n > e.start {
			if blank(line) {
				continue
			}
			if indent(line) <= outer {
				return
			}
			if name, ok := nameIn(line[min(inner, len(line)):]); ok && indent(line) == inner {
				e.name = name
			}
			e.end = n + 1
		}
		if strings.Contains(line, ": &") || strings.Contains(line, "<<:") {
			e.odd = true // other entries may lean on it
		}
	}
}

func nameIn(line string) (string, bool) {
	if !strings.HasPrefix(line, "name:") {
		return "", false
	}
	return unquote(value(line)), true
}

// value is what stands behind the key of a line, without a comment.
func value(line string) string {
	_, v, _ := strings.Cut(line, ":")
	v = strings.TrimSpace(v)
	if strings.HasPrefix(v, "#") {
		return ""
	}
	if i := strings.Index(v, " #"); i >= 0 && !strings.HasPrefix(v, `"`) && !strings.HasPrefix(v, "'") {
		v = strings.TrimSpace(v[:i])
	}
	return v
}

func unquote(v string) string {
	var s string
	switch {
	case strings.HasPrefix(v, `"`) && json.NewDecoder(strings.NewReader(v)).Decode(&s) == nil:
		return s
	case strings.HasPrefix(v, "'"):
		if i := strings.LastIndex(v, "'"); i > 0 {
			return strings.ReplaceAll(v[1:i], "''", "'")
		}
	}
	return v
}

func blank(line string) bool {
	line = strings.TrimSpace(line)
	return line == "" || line[0] == '#'
}

func item(line string) bool {
	line = strings.TrimRight(line, "\r\n")
	return line == "-" || strings.HasPrefix(line, "- ")
}

func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

func plainKey(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	})
}
