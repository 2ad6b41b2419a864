package lab

import (
	"bufio"
	"crypto/tls"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http2"
)

// edge is the server that tunnels lead to: it decides on requests and carries what it lets in.
type edge struct {
	lab   *Lab
	tls   *tls.Config // nil: plain text
	ports []string    // the published port, then the scheme's default

	mu     sync.Mutex
	routes map[string]*route
	conns  map[*net.TCPConn]*h2conn // those it serves; nil: HTTP/1.1, or not known yet
	count  Stats                    // without the maps of others; see stats
}

func (l *Lab) startEdge() (err error) {
	e := &edge{lab: l, routes: make(map[string]*route), conns: make(map[*net.TCPConn]*h2conn)}
	e.count.Tunnels, e.count.Resets = make(map[string]int), make(map[string][]http2.ErrCode)
	l.edge = e
	e.addTargets()
	if l.edgeCA, err = newAuthority("lab edge CA"); err != nil {
		return err
	}
	defaultPort := "80"
	if !l.config.PlainEdge {
		defaultPort = "443"
		cert, err := l.edgeCA.issue("edge.lab", "*.lab", "127.0.0.1")
		if err != nil {
			return err
		}
		e.tls = &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: l.config.ALPN}
	}
	addr, err := l.listen(e.refuseDirect)
	if err != nil {
		return err
	}
	e.ports = []string{strconv.Itoa(addr.Port), defaultPort}
	return nil
}

// refuseDirect meets connections to the published port, which no proxy of the lab ever uses.
func (e *edge) refuseDirect(c *net.TCPConn) {
	e.counted(func(s *Stats) { s.Direct++ })
	e.lab.log.Debug("edge: direct connection", "from", c.RemoteAddr().String())
	if e.lab.config.AllowDirect {
		e.serve(c)
		return
	}
	c.SetLinger(0)
}

// serve speaks TLS and then what ALPN, or the first bytes, say.
func (e *edge) serve(tcp *net.TCPConn) {
	e.mu.Lock()
	e.conns[tcp] = nil
	e.count.Connections++
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.conns, tcp)
	}()

	var c net.Conn = tcp
	alpn := ""
	if e.tls != nil {
		t := tls.Server(tcp, e.tls)
		if err := t.Handshake(); err != nil {
			e.lab.log.Debug("edge: tls", "error", err)
			return
		}
		c, alpn = t, t.ConnectionState().NegotiatedProtocol
	}
	br := bufio.NewReader(c)
	h2 := alpn == "h2" || alpn == "" && prefaceAhead(br)
	if e.lab.config.SpeakH1 {
		h2 = false
	}
	e.lab.log.Debug("edge: connection", "alpn", alpn, "h2", h2)
	if h2 {
		h := newH2Conn(e, c, br)
		e.mu.Lock()
		e.count.H2++
		e.conns[tcp] = h
		e.mu.Unlock()
		h.serve()
	} else {
		e.counted(func(s *Stats) { s.H1++ })
		e.serveH1(c, br)
	}
}

// prefaceAhead reports whether the client begins with the preface of HTTP/2. It reads no byte
// further than it needs to tell.
func prefaceAhead(br *bufio.Reader) bool {
	for n := 1; n <= len(http2.ClientPreface); n++ {
		b, err := br.Peek(n)
		if err != nil || string(b) != http2.ClientPreface[:n] {
			return false
		}
	}
	return true
}

// open decides on a CONNECT: it returns a connection to the destination, or the answer that
// says why not.
func (e *edge) open(r *request) (*net.TCPConn, *route, *answer) {
	rt := e.find(r.authority)
	switch {
	case rt == nil: // authorization does not run
		return nil, nil, byEnvoy(r, http.StatusNotFound, "route_not_found")
	case rt.Kind != "tcp":
		return nil, nil, &answer{status: http.StatusForbidden, drain: true}
	}
	switch st, a := e.authenticate(r); {
	case a != nil:
		return nil, nil, a
	case st == denied:
		return nil, nil, byPomerium(r, http.StatusForbidden, "Forbidden")
	}
	if rt.refuse != nil {
		return nil, nil, rt.refuse(r)
	}
	near, far, err := e.lab.wire()
	if err != nil {
		return nil, nil, byEnvoy(r, http.StatusServiceUnavailable, "no_healthy_upstream")
	}
	e.lab.serve(far, func(c *net.TCPConn) { rt.serve(c) })
	e.counted(func(s *Stats) { s.Tunnels[r.authority]++ })
	return near, rt, nil
}

// authenticate returns what the token of a request is worth, and the answer to a request that has
// no session; the answer is nil when it has one.
func (e *edge) authenticate(r *request) (state, *answer) {
	// Scheme and prefix are compared as they are, in their case and with one space.
	token, offered := strings.CutPrefix(r.header.Get("Authorization"), "Pomerium ")
	st := none
	if offered {
		st = e.lab.sessions.state(token)
	}
	switch {
	case st == good || st == denied:
		return st, nil
	case offered && e.lab.config.Version != "0.32", r.wantsJSON():
		return st, byPomerium(r, http.StatusUnauthorized, "Unauthenticated")
	}
	// For a browser's visit to the route; a client must not follow it.
	a := redirect("https://authenticate.lab/.pomerium/sign_in?pomerium_redirect_uri="+
		url.QueryEscape("https://"+r.authority), page("302 Login", "Request ID: "+r.id))
	a.header = append(a.header, field{"x-pomerium-intercepted-response", "true"})
	return st, a
}

// split returns the path and the query of the request.
func (r *request) split() (path string, query url.Values) {
	path, raw, _ := strings.Cut(r.path, "?")
	query, _ = url.ParseQuery(raw)
	return path, query
}

// answered logs an answer and returns it.
func (e *edge) answered(r *request, a *answer) *answer {
	path, _ := r.split() // the query may hold a token
	e.lab.log.Debug("edge: answer", "method", r.method, "destination", r.authority, "path", path, "status", a.status, "id", r.id)
	return a
}

// counted lets f change the counters.
func (e *edge) counted(f func(*Stats)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(&e.count)
}

func (e *edge) stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.count
	s.Tunnels, s.Resets = maps.Clone(s.Tunnels), maps.Clone(s.Resets)
	for dest, codes := range s.Resets {
		s.Resets[dest] = slices.Clone(codes)
	}
	return s
}

// Cut ends every connection of the edge at once without close_notify, as a killed edge does:
// with a TCP reset, or else with a FIN. New connections are served.
func (l *Lab) Cut(reset bool) {
	l.edge.mu.Lock()
	defer l.edge.mu.Unlock()
	for c := range l.edge.conns {
		if reset {
			c.SetLinger(0)
		}
		c.Close()
	}
}

// GoAway sends GOAWAY on every HTTP/2 connection of the edge: its streams go on to their end, later
// ones are ignored.
func (l *Lab) GoAway() {
	l.edge.mu.Lock()
	conns := maps.Clone(l.edge.conns)
	l.edge.mu.Unlock()
	for _, h := range conns {
		if h != nil {
			h.goAway()
		}
	}
}
