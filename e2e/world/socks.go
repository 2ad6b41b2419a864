//go:build linux

package world

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
)

const danteConfig = `errorlog: stderr
logoutput: stderr
internal: ` + proxyAddr + ` port = %d
external: ` + proxyOuter + `
clientmethod: none
socksmethod: %s
user.privileged: root
user.unprivileged: nobody
client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 command: %s }
`

func startDante(ctx context.Context, w *World) (*Process, error) {
	return w.dante(ctx, "dante", 1080, "none", "connect udpassociate udpreply")
}

// Dante asks the system for the password: the host has an account for it.
func startDantePassword(ctx context.Context, w *World) (*Process, error) {
	return w.dante(ctx, "dante-password", 1081, "username", "connect")
}

func (w *World) dante(ctx context.Context, name string, port int, method, commands string) (*Process, error) {
	conf := filepath.Join(w.ProxyHost.dir, name+".conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, danteConfig, port, method, commands), 0o644); err != nil {
		return nil, err
	}
	cmd := command("danted", "-f", conf, "-p", filepath.Join(w.ProxyHost.dir, name+".pid"))
	return w.ProxyHost.Launch(ctx, name, fmt.Sprintf("%s:%d", proxyAddr, port), cmd)
}

func startMicrosocks(ctx context.Context, w *World) (*Process, error) {
	return w.microsocks(ctx, "microsocks", 1082)
}

func startMicrosocksPassword(ctx context.Context, w *World) (*Process, error) {
	return w.microsocks(ctx, "microsocks-password", 1083, "-u", User, "-P", Password)
}

func startFreezer(ctx context.Context, w *World) (*Process, error) {
	return w.microsocks(ctx, "microsocks-frozen", 1084)
}

// Mortal starts a forward proxy that is the caller's to stop.
func (w *World) Mortal(ctx context.Context) (*Proxy, error) {
	process, err := w.microsocks(ctx, "microsocks-mortal", 1086)
	return &Proxy{Process: process, URL: &url.URL{Scheme: "socks5", Host: "proxy.test:1086"}, CA: w.proxyCA.CA}, err
}

func (w *World) microsocks(ctx context.Context, name string, port int, args ...string) (*Process, error) {
	cmd := command("microsocks", append([]string{"-i", proxyAddr, "-p", strconv.Itoa(port)}, args...)...)
	return w.ProxyHost.Launch(ctx, name, fmt.Sprintf("%s:%d", proxyAddr, port), cmd)
}
