package proxy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/pomerium/pomerium-cli/proxy"
)

// An h2Server is the server of net/http, for HTTP/2 on connections whose
// handshake is done.
type h2Server struct {
	conns  chan net.Conn
	closed chan struct{}
	ends   sync.Map // net.Conn: chan struct{}
}

func newH2Server(t testing.TB, handler http.HandlerFunc) *h2Server {
	s := &h2Server{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: handler, ConnContext: withConn, ConnState: func(c net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			end, _ := s.ends.Load(c)
			close(end.(chan struct{}))
		}
	}}
	over := make(chan struct{})
	go func() { // joined by the cleanup
		defer close(over)
		server.Serve(s)
	}()
	t.Cleanup(func() {
		server.Close()
		<-over
	})
	return s
}

type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// connOf is the connection that a request came on.
func connOf(r *http.Request) net.Conn { return r.Context().Value(connKey{}).(net.Conn) }

// take speaks HTTP/2 on c until it ends.
func (s *h2Server) take(c *tls.Conn) {
	end := make(chan struct{})
	s.ends.Store(c, end)
	select {
	case s.conns <- c:
		<-end
	case <-s.closed:
	}
}

func (s *h2Server) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *h2Server) Close() error {
	close(s.closed)
	return nil
}

func (s *h2Server) Addr() net.Addr { return &net.TCPAddr{} }

// An h2Tunnel is the server's side of a CONNECT stream. It ends when the handler
// returns.
type h2Tunnel struct {
	net.Conn // nil
	w        http.ResponseWriter
	r        *http.Request
}

func (c h2Tunnel) Read(p []byte) (int, error) { return c.r.Body.Read(p) }

func (c h2Tunnel) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if err == nil {
		err = http.NewResponseController(c.w).Flush()
	}
	return n, err
}

// open says 200, and early behind it.
func (c h2Tunnel) open(early string) {
	c.w.WriteHeader(http.StatusOK)
	http.NewResponseController(c.w).Flush()
	if early != "" {
		io.WriteString(c, early)
	}
}

// secureProxy is an https proxy that offers protocols: h2 goes to handler,
// everything else to plain, which is told the number of the connection.
func secureProxy(t testing.TB, protocols []string, handler http.HandlerFunc, plain func(c net.Conn, n int)) *running {
	ca := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "proxy.test", time.Now().Add(time.Hour))}, NextProtos: protocols}
	server := newH2Server(t, handler)
	addr := serve(t, func(c net.Conn, n int) {
		s := tls.Server(c, config)
		defer s.Close()
		switch {
		case s.Handshake() != nil:
		case s.ConnectionState().NegotiatedProtocol == "h2":
			server.take(s)
		case plain != nil:
			plain(s, n)
		}
	})
	return &running{addr: addr, tls: &tls.Config{RootCAs: ca.pool()}}
}

var bothProtocols = []string{"h2", "http/1.1"}

// secureHop is an https proxy without a password; its connections end with the
// test.
func (r *running) secureHop(t testing.TB) *proxy.Hop {
	h := hop(t, "https://proxy.test:3128", to(r.addr))
	h.TLS = r.tls
	t.Cleanup(h.CloseIdleConnections)
	return h
}

// An h2Peer is a proxy's side of an HTTP/2 connection, as scripted as the test
// that holds it.
type h2Peer struct {
	t testing.TB
	net.Conn
	*http2.Framer
	block bytes.Buffer
	hpack *hpack.Encoder
}

// scriptedH2 is a proxy that picks h2, and http/1.1 where that alone is offered:
// script has the nth connection, behind both prefaces.
func scriptedH2(t testing.TB, script func(p *h2Peer, n int), plain func(net.Conn, int), settings ...http2.Setting) *running {
	ca := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "proxy.test", time.Now().Add(time.Hour))}, NextProtos: bothProtocols}
	addr := serve(t, func(c net.Conn, n int) {
		s := tls.Server(c, config)
		defer s.Close()
		if s.Handshake() != nil {
			return
		}
		if s.ConnectionState().NegotiatedProtocol != "h2" {
			plain(s, n)
			return
		}
		if p := newH2Peer(t, s); p.greet(settings...) == nil {
			script(p, n)
		}
	})
	return &running{addr: addr, tls: &tls.Config{RootCAs: ca.pool()}}
}

func newH2Peer(t testing.TB, c net.Conn) *h2Peer {
	p := &h2Peer{t: t, Conn: c, Framer: http2.NewFramer(c, c)}
	p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.AllowIllegalWrites = true
	p.hpack = hpack.NewEncoder(&p.block)
	p.hpack.SetMaxDynamicTableSizeLimit(0)
	return p
}

// greet reads the client's preface and sends SETTINGS.
func (p *h2Peer) greet(settings ...http2.Setting) error {
	if _, err := io.ReadFull(p.Conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return err
	}
	return p.WriteSettings(settings...)
}

// asked waits for the next CONNECT; nil at the end of the connection.
func (p *h2Peer) asked() *http2.MetaHeadersFrame {
	f, _ := p.next(func(f http2.Frame) bool { _, ok := f.(*http2.MetaHeadersFrame); return ok }).(*http2.MetaHeadersFrame)
	return f
}

// next returns the next frame that is wanted, or nil at the end. It answers no
// PING.
func (p *h2Peer) next(wanted func(http2.Frame) bool) http2.Frame {
	for {
		f, err := p.ReadFrame()
		if err != nil {
			return nil
		}
		if wanted(f) {
			return f
		}
	}
}

// answer sends HEADERS with a status.
func (p *h2Peer) answer(id uint32, status int, end bool, pairs ...string) {
	p.block.Reset()
	pairs = append([]string{":status", strconv.Itoa(status)}, pairs...)
	for i := 0; i < len(pairs); i += 2 {
		p.hpack.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.block.Bytes(), EndHeaders: true, EndStream: end})
}

// echo answers each CONNECT with 200 and sends back what comes on the streams,
// until the connection ends. It gives no window.
func (p *h2Peer) echo() {
	for {
		f, err := p.ReadFrame()
		if err != nil {
			return
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			p.answer(f.StreamID, 200, false)
		case *http2.DataFrame:
			p.WriteData(f.StreamID, f.StreamEnded(), f.Data())
		case *http2.PingFrame:
			if !f.IsAck() {
				p.WritePing(true, f.Data)
			}
		}
	}
}

// connectHandler is connectProxy over HTTP/2.
func connectHandler(leadsTo, early string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Proxy-Authorization") != goodKey {
			w.Header().Set("Proxy-Authenticate", strings.TrimSpace(strings.TrimPrefix(wants, "Proxy-Authenticate: ")))
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		leadH2(w, r, leadsTo, early)
	}
}

// leadH2 is lead for a CONNECT stream.
func leadH2(w http.ResponseWriter, r *http.Request, leadsTo, early string) {
	origin, err := net.Dial("tcp", leadsTo)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer origin.Close()
	c := h2Tunnel{w: w, r: r}
	c.open(early)
	done := make(chan struct{})
	go func() { // joined below
		defer close(done)
		if _, err := io.Copy(origin, c); err != nil {
			origin.(*net.TCPConn).SetLinger(0)
			origin.Close()
			return
		}
		origin.(*net.TCPConn).CloseWrite()
	}()
	if _, err := io.Copy(c, origin); err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body.Close()
	<-done
}
