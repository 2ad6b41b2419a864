//go:build linux

package world

import (
	"context"
	"net"
	"net/url"
	"time"
)

// Far returns a forward proxy as Proxy does, so far from the user's host that a byte travels for oneWay.
func (w *World) Far(ctx context.Context, kind string, oneWay time.Duration) (*Proxy, error) {
	near, err := w.Proxy(ctx, kind)
	if err != nil {
		return nil, err
	}
	ln, err := w.ProxyHost.Listen("tcp", proxyAddr+":0")
	if err != nil {
		return nil, err
	}
	proxy := net.JoinHostPort(proxyAddr, near.URL.Port())
	d := &Delay{OneWay: oneWay, Dial: func() (net.Conn, error) { return w.ProxyHost.Dial("tcp", proxy) }}
	go d.Serve(ln) // ended by closing ln
	w.onClose(func() {
		ln.Close()
		d.Close()
	})
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		return nil, err
	}
	far := *near
	far.URL = &url.URL{Scheme: near.URL.Scheme, User: near.URL.User, Host: net.JoinHostPort(near.URL.Hostname(), port)}
	return &far, nil
}
