package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Transport is an http.RoundTripper whose requests leave by the way that
// Selector chooses, and by no other. https targets are reached through a tunnel;
// http targets through a tunnel of a SOCKS proxy, or through an HTTP proxy in
// absolute form, because such proxies commonly allow no CONNECT to port 80. It
// speaks HTTP/1.1, also in absolute form to an https proxy that offers h2: few
// requests go that way, each with an answer of its own, and no tunnel has to
// share a connection with them. Only Selector is required. A Transport must not be copied or
// changed after its first use.
type Transport struct {
	Selector Selector
	TLS      *tls.Config // for https targets; nil: system roots

	once sync.Once
	http *http.Transport
}

// RoundTrip implements http.RoundTripper. A failure at a proxy is or wraps an
// *Error; one behind it names the target.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	t.once.Do(t.init)
	var resp *http.Response
	sent := false
	err := walk(req.Context(), t.Selector, req.URL, func(way Way) (over bool, err error) {
		if sent {
			if req, err = again(req); err != nil {
				return true, err
			}
		}
		sent = true
		resp, err = t.by(way, req) //nolint:bodyclose // the caller of RoundTrip closes it
		return err != nil && !repeatable(req, err), err
	})
	if !sent {
		closeBody(req)
	}
	return resp, err
}

// by sends the request by one way.
func (t *Transport) by(way Way, req *http.Request) (*http.Response, error) {
	hop := way.absolute(req.URL)
	req = req.WithContext(context.WithValue(req.Context(), routeKey{}, route{way, hop}))
	if hop == nil {
		resp, err := t.http.RoundTrip(req)
		return resp, ofTarget(req, err)
	}
	for asks := 0; ; asks++ {
		resp, err := t.ask(hop, req)
		if err == nil || asks == maxAsks {
			return resp, way.named(err)
		}
		more, err := findOut(req.Context(), err)
		if more {
			req, err = again(req)
		}
		if err != nil {
			return nil, way.named(err)
		}
	}
}

// ofTarget names the target in what went wrong there, and whose certificate it
// showed: a proxy that takes TLS apart shows one of its own. What went wrong at a
// proxy says so itself.
func ofTarget(req *http.Request, err error) error {
	var failed *Error
	var dial *net.OpError // names it already
	if err == nil || errors.As(err, &failed) || errors.As(err, &dial) && dial.Op == "dial" || req.Context().Err() != nil {
		return err
	}
	return fmt.Errorf("%s: %w", req.URL.Host, nameIssuer(err))
}

// repeatable says whether the request may go another way after err: not if its
// body is gone, or if a proxy that took it in absolute form may have passed it
// on (RFC 9110 9.2.2).
func repeatable(req *http.Request, err error) bool {
	if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		return false
	}
	var failed *Error
	taken := req.URL.Scheme == "http" && errors.As(err, &failed) && failed.Op == OpConnect
	return !taken || req.Method == "" || req.Method == http.MethodGet || req.Method == http.MethodHead
}

// CloseIdleConnections closes the connections that no request is using.
func (t *Transport) CloseIdleConnections() {
	t.once.Do(t.init)
	t.http.CloseIdleConnections()
}

// A route is what RoundTrip tells the functions below through the context.
type route struct {
	way Way
	hop *Hop // takes the request in absolute form; nil: none does
}

type routeKey struct{}

func (t *Transport) init() {
	secure := t.TLS.Clone()
	if secure != nil {
		secure.NextProtos = nil // this speaks HTTP/1.1
	}
	t.http = &http.Transport{
		// Never http.ProxyFromEnvironment: the selector has decided.
		Proxy:               absoluteProxy,
		DialContext:         dialRoute,
		TLSClientConfig:     secure,
		TLSHandshakeTimeout: DefaultTimeout,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true,
	}
}

// absolute returns the hop that takes the request in absolute form, or nil.
func (w Way) absolute(target *url.URL) *Hop {
	if len(w.Hops) == 0 || target.Scheme != "http" {
		return nil
	}
	hop := w.Hops[len(w.Hops)-1]
	if hop.URL == nil || !table()[hop.URL.Scheme].absolute {
		return nil
	}
	return hop
}

// absoluteProxy has net/http write requests in absolute form. The URL tells it
// nothing else: dialRoute reaches the proxy, in TLS where it wants that.
func absoluteProxy(req *http.Request) (*url.URL, error) {
	r, _ := req.Context().Value(routeKey{}).(route)
	if r.hop == nil {
		return nil, nil
	}
	return &url.URL{Scheme: "http", Host: r.hop.addr()}, nil
}

// dialRoute dials for net/http what the request's route says.
func dialRoute(ctx context.Context, network, addr string) (net.Conn, error) {
	r, ok := ctx.Value(routeKey{}).(route)
	switch {
	case !ok:
		return nil, errors.New("dialing " + addr + ": no way was chosen")
	case r.hop == nil:
		return r.way.DialContext(ctx, network, addr)
	}
	if _, err := r.hop.row(); err != nil {
		return nil, err
	}
	ctx, cancel := withLimit(ctx, r.hop.Timeout)
	defer cancel()
	return r.hop.reach(ctx)
}

// ask sends the request to hop in absolute form and answers its 407s. The first
// request goes over a connection of the pool, if there is nothing to tell the
// proxy; the others have a lane.
func (t *Transport) ask(hop *Hop, req *http.Request) (*http.Response, error) {
	if _, err := hop.row(); err != nil {
		return nil, err
	}
	login := hop.login(req.Method, absoluteURI(req))
	defer login.done()
	var l *lane
	for via := t.http; ; {
		if login.demand != nil {
			var err error
			if l, err = hop.lead(req.Context(), l, login); err != nil {
				l.close()
				return nil, hop.unsent(req.Context(), req.URL.Host, login, err)
			}
			via = l.http
		}
		resp, err := send(via, req, login)
		if errors.Is(err, errLaneEnds) {
			l.close()
			l = nil
			login.missed(&missed{error: err})
			if req, err = again(req); err == nil {
				continue
			}
		}
		if err != nil {
			l.close()
			return nil, hop.broken(req, login, err)
		}
		if resp.StatusCode != http.StatusProxyAuthRequired {
			login.accepted()
			return l.hand(resp), nil
		}
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxBody))
		resp.Body.Close()
		answer := &reply{status: resp.StatusCode, header: resp.Header}
		err = login.answer(req.Context(), resp.Header["Proxy-Authenticate"])
		if err == nil {
			req, err = again(req)
		}
		if err != nil {
			l.close()
			return nil, hop.answered(req.Context(), OpAuth, req.URL.Host, answer, body, login, err)
		}
		if login.elsewhere() || resp.Close {
			l.close()
			l = nil
		}
	}
}

// absoluteURI is the request's target as net/http writes it for a proxy.
func absoluteURI(req *http.Request) string {
	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
	return req.URL.Scheme + "://" + host + req.URL.RequestURI()
}

// again makes the request ready to be sent once more.
func again(req *http.Request) (*http.Request, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return req, nil
	}
	if req.GetBody == nil {
		return req, errors.New("the proxy asks for authentication after it has taken the request's body, which cannot be sent twice")
	}
	body, err := req.GetBody()
	if err != nil {
		return req, fmt.Errorf("sending the request's body again: %w", err)
	}
	req = req.Clone(req.Context())
	req.Body = body
	return req, nil
}

// broken makes the hop's error of what net/http says: whatever breaks a request
// in absolute form, it is the connection to the proxy that breaks.
func (h *Hop) broken(req *http.Request, l *login, err error) error {
	var failed *Error
	if errors.As(err, &failed) {
		return failed
	}
	if text := err.Error(); quote(text, l.secrets()) == "" { // net/http quotes what it does not understand
		err = &WrongProtocol{Want: "HTTP"}
	}
	return h.fail(req.Context(), OpConnect, req.URL.Host, err)
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}
