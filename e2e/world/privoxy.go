//go:build linux

package world

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

const privoxyConfig = `confdir /etc/privoxy
logdir %s
listen-address ` + proxyAddr + `:8118
toggle 0
socket-timeout 600
max-client-connections 512
`

func startPrivoxy(ctx context.Context, w *World) (*Process, error) {
	conf := filepath.Join(w.ProxyHost.dir, "privoxy.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, privoxyConfig, w.ProxyHost.dir), 0o644); err != nil {
		return nil, err
	}
	return w.ProxyHost.Launch(ctx, "privoxy", proxyAddr+":8118", command("privoxy", "--no-daemon", conf))
}
