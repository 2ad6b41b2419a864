package lab

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Route is a destination that the edge publishes.
type Route struct {
	Destination string // host:port, in lower case
	Kind        string // tcp or udp
	Description string
}

type route struct {
	Route
	serve       func(net.Conn)
	refuse      func(*request) *answer // instead of serve
	speaksFirst bool
}

// Routes returns what the edge publishes, in order. Three more families are made as they are asked
// for, on any port, with n in bytes or with a suffix k, m or g: bulk-n.lab sends the n bytes of
// BulkReader and closes; sink-n.lab reads n bytes and then answers like half-close.lab; reset-n.lab sends
// n bytes and resets.
func (l *Lab) Routes() []Route {
	l.edge.mu.Lock()
	defer l.edge.mu.Unlock()
	var routes []Route
	for _, rt := range l.edge.routes {
		routes = append(routes, rt.Route)
	}
	slices.SortFunc(routes, func(a, b Route) int { return cmp.Compare(a.Destination, b.Destination) })
	return routes
}

// Handle publishes a destination, host:port, or replaces one. Each tunnel calls serve on a goroutine of its own with a *net.TCPConn, which is closed
// when serve returns, or by Close, which waits for it.
func (l *Lab) Handle(destination string, serve func(net.Conn)) {
	l.edge.add(destination, "tcp", "a handler", &route{serve: serve})
}

func (e *edge) add(destination, kind, description string, rt *route) {
	rt.Route = Route{strings.ToLower(destination), kind, description}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.routes[rt.Destination] = rt
}

// find looks a destination up.
func (e *edge) find(authority string) *route {
	host, _, err := net.SplitHostPort(authority)
	if err != nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if rt := e.routes[authority]; rt != nil {
		return rt
	}
	return sized(host)
}

// sized makes the routes whose name says how many bytes they are about, such as bulk-256m.lab.
func sized(host string) *route {
	name, size, ok := strings.Cut(strings.TrimSuffix(host, ".lab"), "-")
	if !ok || !strings.HasSuffix(host, ".lab") {
		return nil
	}
	units := map[string]int64{"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
	digits := strings.TrimRight(size, "kmg")
	n, err := strconv.ParseInt(digits, 10, 32)
	unit := units[size[len(digits):]]
	if err != nil || n < 0 || unit == 0 {
		return nil
	}
	serve := map[string]func(c net.Conn, n int64){"bulk": bulk, "reset": reset, "sink": sinkN}[name]
	if serve == nil {
		return nil
	}
	return &route{Route: Route{Kind: "tcp"}, serve: func(c net.Conn) { serve(c, n*unit) }}
}

func (e *edge) addTargets() {
	for _, t := range []struct {
		destination, description string
		serve                    func(net.Conn)
	}{
		{"echo.lab:7", "sends back what it gets", func(c net.Conn) { io.Copy(c, struct{ io.Reader }{c}) }},
		{"half-close.lab:1", "reads to the end, then answers with the count and the SHA-256", sink},
		{"http.lab:80", "says hello over HTTP/1.1", hello},
	} {
		e.add(t.destination, "tcp", t.description, &route{serve: t.serve})
	}
	e.add("banner.lab:22", "tcp", "speaks first, then echoes", &route{serve: banner, speaksFirst: true})
	e.add("udp.lab:53", "udp", "a route of the other kind", &route{})

	pomerium := func(status int, reason string) func(*request) *answer {
		return func(r *request) *answer { return byPomerium(r, status, reason) }
	}
	plain := func(a answer) func(*request) *answer { return func(*request) *answer { return &a } }
	for name, refuse := range map[string]func(*request) *answer{
		"refused.lab:1": func(r *request) *answer {
			return byEnvoy(r, http.StatusServiceUnavailable,
				"upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}")
		},
		"forbidden.lab:1": pomerium(http.StatusForbidden, "Forbidden"),
		"device.lab:1":    pomerium(450, "Device Not Authorized"),
		"mtls.lab:1":      pomerium(495, "Invalid Client Certificate"),
		"no-auth.lab:1":   plain(answer{status: http.StatusServiceUnavailable}),
		"timeout.lab:1":   plain(*text(http.StatusRequestTimeout, "request timeout")),
	} {
		e.add(name, "tcp", "refuses every tunnel", &route{refuse: refuse})
	}
}

// BulkReader returns the n bytes that bulk-<n>.lab sends.
func BulkReader(n int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{}), n)
}

// Digest is what the destinations that count answer after reading n bytes with this SHA-256.
func Digest(n int64, sum []byte) string { return fmt.Sprintf("%d %x\n", n, sum) }

func bulk(c net.Conn, n int64) { io.Copy(c, BulkReader(n)) }

// reset sends n bytes and then a TCP reset.
func reset(c net.Conn, n int64) {
	bulk(c, n)
	c.(*net.TCPConn).SetLinger(0)
}

func sink(c net.Conn) { sinkFrom(c, c) }

// sinkN answers without waiting for an end, for HTTP/1.1, which has none to offer.
func sinkN(c net.Conn, n int64) { sinkFrom(c, io.LimitReader(c, n)) }

func sinkFrom(c net.Conn, r io.Reader) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	if err == nil {
		io.WriteString(c, Digest(n, h.Sum(nil)))
	}
}

func banner(c net.Conn) {
	io.WriteString(c, "SSH-2.0-lab\r\n")
	io.Copy(c, struct{ io.Reader }{c})
}

func hello(c net.Conn) {
	br := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		io.Copy(io.Discard, req.Body)
		body := "hello from " + req.Host + "\n"
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		if req.Close {
			return
		}
	}
}
