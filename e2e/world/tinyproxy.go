//go:build linux

package world

import (
	"context"
	"os"
	"path/filepath"
)

// Nagle's algorithm stays on in its sockets, which is why it is here: a client that waits between small writes pays 40 ms.
const tinyproxyConfig = `User nobody
Group nogroup
Listen ` + proxyAddr + `
Port 8888
Timeout 600
MaxClients 500
LogLevel Warning
`

func startTinyproxy(ctx context.Context, w *World) (*Process, error) {
	conf := filepath.Join(w.ProxyHost.dir, "tinyproxy.conf")
	if err := os.WriteFile(conf, []byte(tinyproxyConfig), 0o644); err != nil {
		return nil, err
	}
	return w.ProxyHost.Launch(ctx, "tinyproxy", proxyAddr+":8888", command("tinyproxy", "-d", "-c", conf))
}
