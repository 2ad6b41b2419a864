//go:build linux

package world

import (
	"context"
	"crypto/md5"
	"fmt"
	"os"
	"path/filepath"
)

// One squid for each scheme, because what auth_param says is for all ports of one: in clear and in TLS.
const squidAuth = `
http_port %[2]s:%[5]d
https_port %[2]s:%[6]d tls-cert=%[3]s tls-key=%[4]s
acl known proxy_auth REQUIRED
http_access deny !known
http_access allow all
`

func startSquidDigest(ctx context.Context, w *World) (*Process, error) {
	const realm = "e2e"
	passwd := filepath.Join(w.ProxyHost.dir, "digest.passwd")
	sum := md5.Sum([]byte(User + ":" + realm + ":" + Password))
	if err := os.WriteFile(passwd, fmt.Appendf(nil, "%s:%s:%x\n", User, realm, sum), 0o644); err != nil {
		return nil, err
	}
	return w.squidAuth(ctx, "squid-digest", 3132, "auth_param digest program /usr/lib/squid/digest_file_auth -c "+passwd+"\nauth_param digest realm "+realm+"\n")
}

func startSquidNTLM(ctx context.Context, w *World) (*Process, error) {
	if err := w.startSamba(ctx); err != nil {
		return nil, err
	}
	return w.squidAuth(ctx, "squid-ntlm", 3134, "auth_param ntlm "+w.ntlmAuth("squid-2.5-ntlmssp"))
}

// startSquidSPNEGO offers Negotiate alone, and has Samba judge the NTLM inside.
func startSquidSPNEGO(ctx context.Context, w *World) (*Process, error) {
	return w.squidAuth(ctx, "squid-spnego", 3146, "auth_param negotiate "+w.ntlmAuth("gss-spnego")) // squid-ntlm has started Samba
}

// startSquidFakeNTLM has the helper that lets everybody in: its messages are those of old servers.
func startSquidFakeNTLM(ctx context.Context, w *World) (*Process, error) {
	return w.squidAuth(ctx, "squid-ntlm-fake", 3142, "auth_param ntlm program /usr/lib/squid/ntlm_fake_auth\n")
}

// startSquidNegotiate needs the KDC to have run, for the keytab.
func startSquidNegotiate(ctx context.Context, w *World) (*Process, error) {
	return w.squidAuth(ctx, "squid-negotiate", 3136, "auth_param negotiate program /usr/lib/squid/negotiate_kerberos_auth -s GSS_C_NO_NAME -k "+w.newKDC().Keytab+"\n")
}

// squidAuth starts a squid that has one scheme, on a port in clear and on the next in TLS.
func (w *World) squidAuth(ctx context.Context, name string, port int, scheme string) (*Process, error) {
	conf := filepath.Join(w.ProxyHost.dir, name+".conf")
	text := fmt.Sprintf(squidConfig+scheme+squidAuth, w.ProxyHost.dir, proxyAddr, w.proxyCA.Cert, w.proxyCA.Key, port, port+1)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		return nil, err
	}
	cmd := command("squid", "-N", "-d", "1", "-f", conf)
	cmd.Env = append(os.Environ(), "KRB5_CONFIG="+w.newKDC().Conf) // read by the helper for Negotiate
	return w.ProxyHost.Launch(ctx, name, fmt.Sprintf("%s:%d", proxyAddr, port), cmd)
}
