package cli

import (
	"errors"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Header fields that are not the user's to send to a proxy, and why.
var (
	errFraming = errors.New("it says how the request is framed or where it goes, which is not yours to set")
	errHop     = errors.New("it is about the connection to the proxy, which is not yours to set")
	errLogin   = errors.New("user and password go in " + envLogin)
)

var notYours = map[string]error{
	"Host":                errFraming,
	"Content-Length":      errFraming,
	"Transfer-Encoding":   errFraming,
	"Trailer":             errFraming,
	"Expect":              errFraming,
	"Connection":          errHop, // RFC 9110 7.6.1
	"Keep-Alive":          errHop,
	"Proxy-Connection":    errHop,
	"Te":                  errHop,
	"Upgrade":             errHop,
	"Proxy-Authenticate":  errLogin,
	"Proxy-Authorization": errLogin,
}

// proxyHeader reads the values of --forward-proxy-header, each "Name: value".
// No error repeats a value.
func proxyHeader(lines []string) (http.Header, error) {
	header := make(http.Header)
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		if !ok || !httpguts.ValidHeaderFieldName(name) {
			return nil, usagef("--forward-proxy-header: not of the form 'Name: value'")
		}
		if err := notYours[http.CanonicalHeaderKey(name)]; err != nil {
			return nil, usagef("--forward-proxy-header %s: %w", name, err)
		}
		value = strings.Trim(value, " \t")
		if !httpguts.ValidHeaderFieldValue(value) {
			return nil, usagef("--forward-proxy-header %s: its value has a line break or control character", name)
		}
		header.Add(name, value)
	}
	return header, nil
}
