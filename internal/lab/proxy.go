package lab

import (
	"bufio"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// httpProxy is a forward proxy that knows CONNECT.
type httpProxy struct {
	lab  *Lab
	kind string
	user *url.Userinfo // nil: no password asked
}

func (l *Lab) startProxies() (err error) {
	if l.proxyCA, err = newAuthority("lab proxy CA"); err != nil {
		return err
	}
	cert, err := l.proxyCA.issue("proxy.lab", "localhost", "127.0.0.1")
	if err != nil {
		return err
	}
	secure := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}
	for _, kind := range []string{"http", "https", "socks5", "http+password", "https+password", "socks5+password"} {
		scheme, _, password := strings.Cut(kind, "+")
		var user *url.Userinfo
		if password { // with characters that only survive a correct percent-decoding
			user = url.UserPassword("lab user", "p@ss:/%"+rand.Text())
		}
		var serve func(*net.TCPConn)
		switch p := (&httpProxy{l, kind, user}); scheme {
		case "http":
			serve = func(c *net.TCPConn) { p.serve(c) }
		case "https":
			serve = func(c *net.TCPConn) { p.serve(tls.Server(c, secure)) }
		case "socks5":
			serve = (&socksProxy{l, kind, user}).serve
		}
		addr, err := l.listen(serve)
		if err != nil {
			return err
		}
		l.Resolve(addr.String(), addr.String())
		l.proxies[kind] = &url.URL{Scheme: scheme, User: user, Host: addr.String()}
	}
	return nil
}

// serve answers requests until one of them becomes a tunnel.
func (p *httpProxy) serve(c halfCloser) {
	br := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		switch {
		case !p.allowed(req):
			err = reply(c, http.StatusProxyAuthRequired, http.Header{"Proxy-Authenticate": {`Basic realm="lab"`}}, "password, please\n")
		case req.Method == http.MethodConnect:
			if p.connect(c, br, req) {
				return
			}
			continue
		default:
			err = reply(c, http.StatusBadRequest, nil, "this is a forward proxy, and knows CONNECT alone\n")
		}
		if err != nil || req.Close {
			return
		}
	}
}

// reply answers in the proxy's own name.
func reply(w io.Writer, status int, header http.Header, body string) error {
	if header == nil {
		header = make(http.Header)
	}
	header.Set("Via", "1.1 lab-proxy")
	header.Set("Content-Type", "text/plain; charset=utf-8")
	return (&http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: header,
		ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body))}).Write(w)
}

func (p *httpProxy) allowed(req *http.Request) bool {
	if p.user == nil {
		return true
	}
	password, _ := p.user.Password()
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(p.user.Username()+":"+password))
	return req.Header.Get("Proxy-Authorization") == want
}

// connect makes a tunnel and carries it to its end, or answers why not and returns false.
func (p *httpProxy) connect(c halfCloser, br *bufio.Reader, req *http.Request) bool {
	up, err := p.lab.dial(req.Context(), "tcp", req.RequestURI)
	if err != nil {
		reply(c, statusOf(err), nil, err.Error()+"\n")
		return false
	}
	p.lab.log.Debug("proxy: connected", "proxy", p.kind, "target", req.RequestURI)
	if _, err := io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		up.Close()
		return true
	}
	p.lab.carry(buffered{c, br}, up.(halfCloser))
	return true
}

func statusOf(err error) int {
	if errors.Is(err, errUnknownHost) {
		return http.StatusServiceUnavailable // as Squid does
	}
	return http.StatusBadGateway
}

type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// buffered reads what a bufio.Reader took from the connection first.
type buffered struct {
	halfCloser
	br *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.br.Read(p) }

// carry copies both ways until both have ended, each end passed on as a FIN; after an error, or
// the silence of Config.ProxyIdle, it closes both at once. It closes up in any case.
func (l *Lab) carry(c, up halfCloser) {
	defer up.Close()
	forget, ok := l.track(up)
	if !ok {
		return
	}
	defer forget()
	touch := func() {}
	if idle := l.config.ProxyIdle; idle > 0 {
		timer := time.AfterFunc(idle, func() { c.Close(); up.Close() })
		defer timer.Stop()
		touch = func() { timer.Reset(idle) }
	}
	copyOn := func(dst, src halfCloser) {
		if err := copyTouching(dst, src, touch); err != nil {
			dst.Close()
			src.Close()
			return
		}
		dst.CloseWrite()
	}
	var wg sync.WaitGroup
	wg.Go(func() { copyOn(up, c) })
	copyOn(c, up)
	wg.Wait()
}

func copyTouching(dst io.Writer, src io.Reader, touch func()) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		touch()
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
