package edge

import (
	"net/http"
	"strings"
)

// UserAgent is what requests to the edge say they come from. It must not
// contain "kubernetes/": the edge answers such clients in another format.
const UserAgent = "pomerium-cli"

// SetCredential sets the headers that every request to the edge carries: the
// session or service-account token in the form that the edge removes before it
// passes a request on, a single accepted type, so that refusals come as JSON
// on every version of the edge, and the user agent. An empty token sets no
// Authorization header, and neither does one that no header can carry; the
// edge then answers that it wants a sign-in.
//
// Requests with it must carry no cookie: a stale cookie beats a good header.
func SetCredential(h http.Header, token string) {
	h.Set("Accept", "application/json")
	h.Set("User-Agent", UserAgent)
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		h.Del("Authorization")
		return
	}
	h.Set("Authorization", "Pomerium "+token)
}
