package login

import (
	"crypto/rand"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// maxToken bounds the length of a token, in bytes.
const maxToken = 64 << 10

// tokenParameter is what the edge adds to the address that a browser ends on.
const tokenParameter = "pomerium_jwt"

// callback is the loopback server to which the browser comes back with a token,
// once. Its path is random, because the sign-in has no other secret that ties
// the browser's visit to our request: whoever does not know the path cannot
// slip us a token of their own. (Other users of this machine may read it in the
// command line of the browser. They cannot get a token with it; one of their own
// would be told of by its name, on the page and by login.)
//
// The visit that brings the token is sent on to the same path without it
// (303), so that it is neither in the browser's history nor on the screen, and
// there is told how the sign-in ended.
type callback struct {
	token chan brought // gets the token, once
	path  string
	port  string
	edge  string // for the pages
	taken atomic.Bool
	srv   *http.Server
	gone  chan struct{} // closed when the server has returned

	known  chan struct{} // closed when who is set
	who    string        // who signed in; "" if that is not known
	shown  chan struct{} // closed when a page has told that the sign-in worked
	showed sync.Once
}

// brought is a token and how it came.
type brought struct {
	token  string
	pasted bool // no browser waits for a page
}

// newCallback serves on ln until close is called.
func newCallback(ln net.Listener, edge string) *callback {
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	c := &callback{
		token: make(chan brought, 1),
		path:  "/" + rand.Text(),
		port:  port,
		edge:  edge,
		gone:  make(chan struct{}),
		known: make(chan struct{}),
		shown: make(chan struct{}),
	}
	c.srv = &http.Server{
		Handler:           c,
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       10 * time.Second,
		MaxHeaderBytes:    2 * maxToken,
		ErrorLog:          log.New(io.Discard, "", 0), // its lines would show requests
	}
	c.srv.SetKeepAlivesEnabled(false)
	go func() { // joined by close
		defer close(c.gone)
		_ = c.srv.Serve(ln)
	}()
	return c
}

// url returns the address for the browser to come back to, by the given name
// of this machine.
func (c *callback) url(host string) string {
	return "http://" + net.JoinHostPort(host, c.port) + c.path
}

// take takes the first token; others change nothing.
func (c *callback) take(b brought) {
	if c.taken.CompareAndSwap(false, true) {
		c.token <- b
	}
}

// greet says who signed in, once.
func (c *callback) greet(who string) {
	c.who = who
	close(c.known)
}

// close ends the server. A page that was sent is in the kernel's hands by then.
func (c *callback) close() {
	_ = c.srv.Close()
	<-c.gone
}

// ServeHTTP takes the token from the one request that is what the edge makes a
// browser send. Every other request changes nothing.
func (c *callback) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, p := c.judge(r)
	switch {
	case status == http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodGet)
	case status == http.StatusOK && r.URL.RawQuery != "":
		if token := tokenOf(r.URL.RawQuery); token != "" {
			c.take(brought{token: token})
		}
		guard(w.Header())
		w.Header().Set("Location", c.path)
		w.WriteHeader(http.StatusSeeOther)
		return
	case status == http.StatusOK:
		c.tell(w, r)
		return
	}
	p.write(w, status, c.edge, "")
}

// judge returns what a request is to be answered: 200 if it is a browser's
// visit to our path.
func (c *callback) judge(r *http.Request) (status int, p page) {
	switch {
	case !c.ours(r.Host):
		// A page elsewhere whose name was pointed at 127.0.0.1 (DNS rebinding).
		return http.StatusMisdirectedRequest, pageNotFound
	case r.URL.Path != c.path:
		return http.StatusNotFound, pageNotFound
	case r.Method != http.MethodGet:
		return http.StatusMethodNotAllowed, pageNotFound
	case prefetch(r.Header):
		// The browser comes again when the person really goes there.
		return http.StatusServiceUnavailable, pageNotFound
	case embedded(r.Header):
		return http.StatusForbidden, pageNotFound
	}
	return http.StatusOK, page{}
}

// tell says how the sign-in ended.
func (c *callback) tell(w http.ResponseWriter, r *http.Request) {
	if !c.taken.Load() {
		pageFailed.write(w, http.StatusBadRequest, c.edge, "")
		return
	}
	select {
	case <-c.known:
	case <-r.Context().Done(): // the browser has gone, or the program goes
		return
	}
	p := pageDone
	if c.who != "" {
		p = pageDoneAs
	}
	p.write(w, http.StatusOK, c.edge, c.who)
	c.showed.Do(func() { close(c.shown) })
}

// tokenOf returns the token in a query, "" if there is not exactly one that can
// be used.
func tokenOf(query string) string {
	values, err := url.ParseQuery(query)
	if tokens := values[tokenParameter]; err == nil && len(tokens) == 1 && validToken(tokens[0]) {
		return tokens[0]
	}
	return ""
}

// ours reports whether a Host header names us as the redirect did.
func (c *callback) ours(host string) bool {
	return host == "127.0.0.1:"+c.port || host == "localhost:"+c.port
}

// prefetch reports whether a browser fetches the page ahead of a visit.
func prefetch(h http.Header) bool {
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		v := strings.ToLower(h.Get(name))
		if strings.Contains(v, "prefetch") || strings.Contains(v, "prerender") || strings.Contains(v, "preview") {
			return true
		}
	}
	return false
}

// embedded reports whether a browser that tells (Fetch Metadata) wants the page
// as a part of another one: as an image, a frame, a script's request.
func embedded(h http.Header) bool {
	dest := h.Get("Sec-Fetch-Dest")
	return dest != "" && dest != "document"
}

// validToken reports whether s could travel in a header as one word.
func validToken(s string) bool {
	return s != "" && len(s) <= maxToken &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
