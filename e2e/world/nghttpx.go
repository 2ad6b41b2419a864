//go:build linux

package world

import (
	"context"
	"fmt"
)

// nghttpx speaks HTTP/2 with its clients and HTTP/1.1 with the squid behind it: each CONNECT stream becomes a connection there.
// It has eight of them to one host for a client's connection; more wait.

func startNghttpx(ctx context.Context, w *World) (*Process, error) {
	return w.nghttpx(ctx, "h2,http/1.1", 3200)
}

// startNghttpxH1 is the same without HTTP/2, to compare with.
func startNghttpxH1(ctx context.Context, w *World) (*Process, error) {
	return w.nghttpx(ctx, "http/1.1", 3201)
}

func (w *World) nghttpx(ctx context.Context, protocols string, port int) (*Process, error) {
	return w.ProxyHost.Launch(ctx, fmt.Sprintf("nghttpx-%d", port), fmt.Sprintf("%s:%d", proxyAddr, port),
		command("nghttpx", "--conf=/dev/null", "--single-process", "--http2-proxy", "--npn-list="+protocols,
			fmt.Sprintf("--frontend=%s,%d", proxyAddr, port), fmt.Sprintf("--backend=%s,3128", proxyAddr), w.proxyCA.Key, w.proxyCA.Cert))
}
