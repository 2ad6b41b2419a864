package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

const (
	maxHead    = 64 << 10 // bytes of one status line with its header
	maxInterim = 16       // answers 1xx before the final one
)

// A reply is the head of a proxy's answer to CONNECT.
type reply struct {
	minor  int // of the version HTTP/1.x
	status int
	reason string
	header http.Header
	// text reads the body; whole says that another request may follow on the same
	// connection. nil: there is none to read.
	text func() (text []byte, whole bool)
}

// head reads the final answer's head, and nothing behind it (RFC 9110 15.2:
// any number of 1xx may come first).
func (w *wire) head() (*reply, error) {
	for range maxInterim + 1 {
		text, err := w.headText()
		if err != nil {
			return nil, err
		}
		r, err := parseReply(text)
		if err != nil {
			return nil, err
		}
		if r.status >= 200 || r.status == http.StatusSwitchingProtocols {
			return r, nil
		}
	}
	return nil, fmt.Errorf("the proxy sent more than %d interim answers (1xx)", maxInterim)
}

// headText takes one head off the wire, with its empty line.
func (w *wire) headText() ([]byte, error) {
	for scanned := 0; ; {
		if !couldBeHTTP(w.in) {
			got, said := identify(w.in)
			if got == "HTTP" { // of a version that no proxy speaks
				got, said = "", printable(string(w.in))
			}
			return nil, &WrongProtocol{Want: "HTTP", Got: got, Said: said}
		}
		if end := headEnd(w.in, scanned); end > 0 && end <= maxHead {
			return w.take(end)
		}
		if len(w.in) > maxHead {
			return nil, fmt.Errorf("the header of the proxy's answer is longer than %d KiB", maxHead>>10)
		}
		scanned = len(w.in)
		if err := w.more(); err != nil {
			return nil, ended(err, len(w.in) > 0, "an HTTP")
		}
	}
}

// ended says how a connection ended before the answer did. kind is what the
// proxy should have been.
func ended(err error, begun bool, kind string) error {
	switch {
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("reading the proxy's answer: %w", err)
	case begun:
		return fmt.Errorf("the proxy closed the connection in the middle of its answer: %w", io.ErrUnexpectedEOF)
	default:
		return fmt.Errorf("the proxy closed the connection without an answer (is it %s proxy?): %w", kind, io.ErrUnexpectedEOF)
	}
}

// couldBeHTTP says whether p is, or may become, a status line of HTTP/1.
func couldBeHTTP(p []byte) bool {
	const start = "HTTP/1."
	n := min(len(p), len(start))
	return string(p[:n]) == start[:n]
}

// headEnd finds the end of the empty line that ends a head, or 0. Lines may end
// in LF alone (RFC 9112 2.2). p[:scanned] has been looked at before.
func headEnd(p []byte, scanned int) int {
	// The end may have been split anywhere in LF CR LF.
	for at := max(0, scanned-2); at < len(p); {
		i := bytes.IndexByte(p[at:], '\n')
		if i < 0 {
			return 0
		}
		at += i + 1
		switch rest := p[at:]; {
		case bytes.HasPrefix(rest, []byte("\n")):
			return at + 1
		case bytes.HasPrefix(rest, []byte("\r\n")):
			return at + 2
		}
	}
	return 0
}

// parseReply is lenient where the meaning is clear: missing reason, lines that
// end in LF, folded lines, lines without a colon.
func parseReply(text []byte) (*reply, error) {
	first, rest, _ := strings.Cut(string(text), "\n")
	r, err := parseStatus(strings.TrimRight(first, "\r"))
	if err != nil {
		return nil, err
	}
	r.header = make(http.Header)
	name := ""
	for line := range strings.Lines(rest) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			break
		}
		if line[0] == ' ' || line[0] == '\t' { // obs-fold, RFC 9112 5.2
			if v := r.header[name]; len(v) > 0 {
				v[len(v)-1] += " " + strings.TrimSpace(line)
			}
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			name = ""
			continue
		}
		name = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(key))
		r.header[name] = append(r.header[name], strings.TrimSpace(value))
	}
	return r, nil
}

func parseStatus(line string) (*reply, error) {
	version, rest, _ := strings.Cut(line, " ")
	code, reason, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	minor, err := strconv.ParseUint(strings.TrimPrefix(version, "HTTP/1."), 10, 8)
	status, err2 := strconv.ParseUint(code, 10, 16)
	if err != nil || err2 != nil || len(code) != 3 || status < 100 {
		return nil, &WrongProtocol{Want: "HTTP", Said: printable(line)}
	}
	return &reply{minor: int(minor), status: int(status), reason: strings.TrimSpace(reason)}, nil
}

// keepAlive says whether the proxy means to go on with this connection (RFC 9112 9.3).
func (r *reply) keepAlive() bool {
	keep := r.minor >= 1
	for _, name := range []string{"Connection", "Proxy-Connection"} {
		for _, option := range r.tokens(name) {
			switch option {
			case "close":
				return false
			case "keep-alive":
				keep = true
			}
		}
	}
	return keep
}

func (r *reply) tokens(name string) []string {
	var all []string
	for _, line := range r.header[name] {
		for token := range strings.SplitSeq(line, ",") {
			if token = strings.ToLower(strings.TrimSpace(token)); token != "" {
				all = append(all, token)
			}
		}
	}
	return all
}

// identify names the protocol that begins with p, and returns p if it is text.
func identify(p []byte) (protocol, said string) {
	is := func(prefix string) bool { return bytes.HasPrefix(p, []byte(prefix)) }
	switch {
	case is("HTTP/2"):
		return "HTTP/2", printable(string(p))
	case is("HTTP/"):
		return "HTTP", ""
	case is("SSH-"):
		return "SSH", printable(string(p))
	case is("\x15\x03"), is("\x16\x03"):
		return "TLS", ""
	case is("\x05"), len(p) >= 2 && p[0] == 0 && p[1] >= 0x5a && p[1] <= 0x5d:
		return "SOCKS", ""
	case len(p) >= 4 && p[0] == 0 && p[3] == 4: // a SETTINGS frame, RFC 9113 6.5
		return "HTTP/2", ""
	}
	for _, b := range p {
		if b != '\r' && b != '\n' && b != '\t' && (b < ' ' || b > '~') {
			return "", ""
		}
	}
	return "", printable(string(p))
}
