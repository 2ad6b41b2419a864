//go:build linux

package world

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// What stands in front of a squid: it passes bytes on, with TLS taken off, or adds the user's password.

const haproxyConfig = `global
	maxconn 2000
defaults
	mode tcp
	timeout connect 5s
	timeout client 10m
	timeout server 10m
listen plain
	bind %[1]s:3160
	server squid %[1]s:3128
listen tls
	bind %[1]s:3161 ssl crt %[2]s
	server squid %[1]s:3128
listen h2
	mode http
	bind %[1]s:3162 ssl crt %[2]s alpn h2,http/1.1
	bind %[1]s:3163 ssl crt %[2]s alpn h2,http/1.1 verify required ca-file %[3]s
	server squid %[1]s:3128
`

func startHAProxy(ctx context.Context, w *World) (*Process, error) {
	both := filepath.Join(w.ProxyHost.dir, "haproxy.pem")
	var pem []byte
	for _, file := range []string{w.proxyCA.Cert, w.proxyCA.Key} {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		pem = append(pem, content...)
	}
	if err := os.WriteFile(both, pem, 0o600); err != nil {
		return nil, err
	}
	conf := filepath.Join(w.ProxyHost.dir, "haproxy.cfg")
	if err := os.WriteFile(conf, fmt.Appendf(nil, haproxyConfig, proxyAddr, both, w.ClientCA.CA), 0o644); err != nil {
		return nil, err
	}
	return w.ProxyHost.Launch(ctx, "haproxy", proxyAddr+":3160", command("haproxy", "-db", "-f", conf))
}

// The client has to show a certificate of the authority.
const stunnelConfig = `foreground = yes
pid =
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
[squid]
accept = %[1]s:3170
connect = %[1]s:3128
cert = %[2]s
key = %[3]s
CAfile = %[4]s
verifyChain = yes
`

func startStunnel(ctx context.Context, w *World) (*Process, error) {
	conf := filepath.Join(w.ProxyHost.dir, "stunnel.conf")
	text := fmt.Appendf(nil, stunnelConfig, proxyAddr, w.proxyCA.Cert, w.proxyCA.Key, w.ClientCA.CA)
	if err := os.WriteFile(conf, text, 0o644); err != nil {
		return nil, err
	}
	return w.ProxyHost.Launch(ctx, "stunnel", proxyAddr+":3170", command("stunnel4", conf))
}

// The helper on the user's own machine that speaks NTLM for programs that do not.
const cntlmConfig = `Username ` + User + `
Domain ` + Domain + `
Password ` + Password + `
Workstation user
Auth NTLMv2
Proxy ` + proxyAddr + `:3134
Listen 127.0.0.1:3190
`

func startCNTLM(ctx context.Context, w *World) (*Process, error) {
	conf := filepath.Join(w.UserHost.dir, "cntlm.conf")
	if err := os.WriteFile(conf, []byte(cntlmConfig), 0o600); err != nil {
		return nil, err
	}
	return w.UserHost.Launch(ctx, "cntlm", "127.0.0.1:3190", command("cntlm", "-f", "-c", conf))
}
