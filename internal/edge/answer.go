package edge

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Author says which part of an edge wrote an answer. It decides what a status
// means: a 403 of Pomerium is a verdict about the user, an empty one says that
// the name is a route of another kind.
type Author uint8

// The authors of an answer.
const (
	// AuthorNone: nobody that we know signed it. With an empty Reason, the
	// answer was empty, as the edge's is when a route is not of the kind that
	// was asked for, or when its authorization service did not answer.
	AuthorNone Author = iota
	// AuthorPomerium: Pomerium's authorize service, after looking at the user.
	AuthorPomerium
	// AuthorProxy: Envoy, the proxy inside the edge, on its own account.
	AuthorProxy
)

// String returns "none", "pomerium" or "proxy".
func (a Author) String() string {
	switch a {
	case AuthorPomerium:
		return "pomerium"
	case AuthorProxy:
		return "proxy"
	}
	return "none"
}

// MaxBody is how much of an answer's body [NewAnswerError] looks at, in bytes.
// There is no use in reading more of it.
const MaxBody = 64 << 10

// AnswerError is an answer of the edge that is not success.
type AnswerError struct {
	Edge        string // host, with the port unless it is the default
	Destination string // host:port; empty for the edge's own pages
	Status      int    // HTTP status code
	Author      Author
	Reason      string // plain text of one line, may be empty
	RequestID   string // what an administrator finds in the edge's log; may be empty
	Astray      string // the host that a redirect leads to, if to a page that is not Pomerium's
}

// NewAnswerError reads an answer: the status, the header, and as much of the
// body as the caller cared to read, up to [MaxBody]. JSON, HTML and plain text
// are understood; nothing in the result has control characters, markup or
// anything that looks like a credential.
func NewAnswerError(edge, destination string, status int, h http.Header, body []byte) *AnswerError {
	e := &AnswerError{
		Edge:        edge,
		Destination: destination,
		Status:      status,
		RequestID:   plain(h.Get("X-Request-Id"), maxID),
	}
	if len(body) > MaxBody {
		body = body[:MaxBody]
	}
	if h.Get("X-Pomerium-Intercepted-Response") == "true" {
		e.Author = AuthorPomerium
	}
	text := strings.TrimSpace(string(body))
	switch {
	case text == "":
	case e.readJSON(text):
	case looksLikeHTML(h, text):
		e.readHTML(text)
	default:
		e.Reason = plain(text, maxReason)
	}
	// Envoy puts its name on every answer; that of a middlebox does not have it.
	if e.Author == AuthorNone && text != "" && strings.EqualFold(h.Get("Server"), "envoy") {
		e.Author = AuthorProxy
	}
	if host := strayHost(h); host != "" && e.redirects() && e.Author != AuthorPomerium {
		e.Astray = plain(host, maxReason)
		e.Reason = "sent on to " + e.Astray
	}
	return e
}

// SignIn reports whether the answer means that the edge wants a sign-in: a 401,
// or a redirect, which is not followed. One that leads elsewhere is of a box that
// opens TLS on the way, or of a server that is no edge.
func (e *AnswerError) SignIn() bool {
	return e.Status == http.StatusUnauthorized || e.redirects() && e.Astray == ""
}

func (e *AnswerError) redirects() bool {
	switch e.Status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// strayHost is the host that an answer points to, "" if that is a page of
// Pomerium's, on whatever host, or not told.
func strayHost(h http.Header) string {
	u, err := url.Parse(h.Get("Location"))
	if err != nil || strings.HasPrefix(u.Path, "/.pomerium/") {
		return ""
	}
	return u.Host
}

// Error names the edge, the status, the destination, the reason and the
// request id.
func (e *AnswerError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "edge %s: %d", e.Edge, e.Status)
	status := statusText(e.Status)
	if status != "" {
		b.WriteString(" " + status)
	}
	if e.Destination != "" {
		b.WriteString(" for " + e.Destination)
	}
	if e.Reason != "" && !strings.EqualFold(e.Reason, status) {
		b.WriteString(": " + e.Reason)
	}
	if e.RequestID != "" {
		b.WriteString(" (request id " + e.RequestID + ")")
	}
	return b.String()
}

// statusText knows Pomerium's own codes as well.
func statusText(status int) string {
	switch status {
	case 450:
		return "Device Not Authorized"
	case 495:
		return "Client Certificate Required"
	}
	return http.StatusText(status)
}

// readJSON understands the three JSON objects that come from an edge; it
// reports false if text is none.
func (e *AnswerError) readJSON(text string) bool {
	var m map[string]any
	if json.Unmarshal([]byte(text), &m) != nil {
		return false
	}
	switch {
	case has(m, "error"): // Pomerium's authorize service
		e.Author, e.Reason = AuthorPomerium, member(m, "error")
	case has(m, "statusText"): // Envoy's local reply; Pomerium's pages, by their header
		if e.Author == AuthorNone {
			e.Author = AuthorProxy
		}
		e.Reason = member(m, "statusText")
	case m["kind"] == "Status": // what kubectl is told
		e.Author, e.Reason = AuthorPomerium, member(m, "message", "reason")
	case m["Status"] != nil: // Pomerium's own pages, the sign-in API among them
		e.Author, e.Reason = AuthorPomerium, member(m, "StatusText")
	}
	if e.RequestID == "" {
		e.RequestID = plain(member(m, "request_id", "requestId", "RequestID", "requestID"), maxID)
	}
	return true
}

// readHTML takes the gist of a page. Pomerium's pages carry theirs as data for
// a script.
func (e *AnswerError) readHTML(text string) {
	if _, data, ok := strings.Cut(text, "POMERIUM_DATA"); ok {
		data = strings.TrimLeft(data, " \t\r\n=")
		var m map[string]any
		if json.NewDecoder(strings.NewReader(data)).Decode(&m) == nil {
			e.Reason = member(m, "error", "errorMessage", "statusText")
			if e.RequestID == "" {
				e.RequestID = plain(member(m, "requestId", "request_id"), maxID)
			}
		}
	}
	if e.Reason == "" {
		e.Reason = gist(text)
	}
}

func has(m map[string]any, name string) bool {
	s, ok := m[name].(string)
	return ok && s != ""
}

// member returns the first of the named members that says something, as one
// line of plain text.
func member(m map[string]any, names ...string) string {
	for _, name := range names {
		switch v := m[name].(type) {
		case string:
			if s := plain(v, maxReason); s != "" {
				return s
			}
		case float64:
			return strconv.FormatFloat(v, 'f', -1, 64)
		}
	}
	return ""
}
