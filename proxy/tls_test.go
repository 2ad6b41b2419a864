package proxy_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pomerium/pomerium-cli/proxy"
)

// An authority issues certificates for proxies.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Corp Test CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) issue(t testing.TB, name string, end time.Time) tls.Certificate {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: end.Add(-2 * time.Hour), NotAfter: end,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// mustParse parses a URL as the standard library does.
func mustParse(t testing.TB, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestEdgeCase25_TLSProxies(t *testing.T) {
	ca := newAuthority(t)
	good := ca.issue(t, "proxy.test", time.Now().Add(time.Hour))
	trusted := &tls.Config{RootCAs: ca.pool()}
	config := func(cert tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{cert}} }
	as := func(target any) func(error) bool { return func(err error) bool { return errors.As(err, target) } }
	for _, tc := range []struct {
		name   string
		server *tls.Config
		client *tls.Config
		cause  func(error) bool
		err    string
	}{
		{name: "private CA", server: config(good), client: trusted},
		{name: "TLS 1.2", server: &tls.Config{Certificates: config(good).Certificates, MaxVersion: tls.VersionTLS12}, client: trusted},
		{name: "unknown CA", server: config(good), cause: as(new(*tls.CertificateVerificationError)),
			err: "(certificate of CN=proxy.test, issued by CN=Corp Test CA)"},
		{name: "wrong name", server: config(ca.issue(t, "other.test", time.Now().Add(time.Hour))), client: trusted, cause: as(new(x509.HostnameError)),
			err: "certificate is valid for other.test, not proxy.test (certificate of CN=other.test, issued by CN=Corp Test CA)"},
		{name: "expired", server: config(ca.issue(t, "proxy.test", time.Now().Add(-time.Hour))), client: trusted, cause: as(new(x509.CertificateInvalidError)),
			err: "certificate has expired"},
		{name: "client certificate wanted", client: trusted, err: "certificate required",
			server: &tls.Config{Certificates: config(good).Certificates, ClientAuth: tls.RequireAnyClientCert}},
		{name: "client certificate wanted, h2", client: trusted, err: "certificate required",
			server: &tls.Config{Certificates: config(good).Certificates, NextProtos: bothProtocols, ClientAuth: tls.RequireAnyClientCert}},
		{name: "neither protocol", client: trusted, server: &tls.Config{Certificates: config(good).Certificates, NextProtos: []string{"h3"}},
			err: "the proxy speaks neither HTTP/2 nor HTTP/1.1 over TLS: remote error: tls: no application protocol"},
		{name: "TLS 1.0 only", client: trusted, err: "protocol version",
			server: &tls.Config{Certificates: config(good).Certificates, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addr := serve(t, func(c net.Conn, _ int) {
				s := tls.Server(c, tc.server)
				if _, err := readHead(s); err == nil {
					io.WriteString(s, ok200+"early")
					echo(s)
				}
			})
			h := hop(t, "https://proxy.test", to(addr))
			h.TLS = tc.client
			conn, err := h.DialContext(t.Context(), "tcp", target)
			if tc.err == "" {
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				exchangeEcho(t, conn, "early")
				return
			}
			if failed := asError(t, err); failed.Op != proxy.OpTLS || !strings.HasPrefix(err.Error(), "forward proxy https://proxy.test:443: tls: ") {
				t.Errorf("Op %q, error %v", failed.Op, err)
			}
			if !strings.Contains(err.Error(), tc.err) {
				t.Errorf("error %v, want %s", err, tc.err)
			}
			if tc.cause != nil && !tc.cause(err) {
				t.Errorf("cause of %v", err)
			}
		})
	}
	t.Run("h2 without asking", func(t *testing.T) {
		addr := serve(t, func(c net.Conn, _ int) {
			s := tls.Server(c, config(good))
			io.WriteString(s, "\x00\x00\x00\x04\x00\x00\x00\x00\x00")
			readHead(s)
		})
		h := hop(t, "https://proxy.test", to(addr))
		h.TLS = trusted
		_, err := h.DialContext(t.Context(), "tcp", target)
		if want := "forward proxy https://proxy.test:443: connect edge.test:443: this port does not speak HTTP proxy, it speaks HTTP/2"; text(err) != want {
			t.Errorf("error %v, want %s", err, want)
		}
	})
	t.Run("no TLS", func(t *testing.T) {
		addr := serve(t, func(c net.Conn, _ int) {
			c.Read(make([]byte, 1000))
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
		})
		_, err := hop(t, "https://proxy.test", to(addr)).DialContext(t.Context(), "tcp", target)
		if want := "forward proxy https://proxy.test:443: tls: this port does not speak TLS, it speaks HTTP"; text(err) != want {
			t.Errorf("error %v, want %s", err, want)
		}
	})
	t.Run("the edge's name is not the proxy's", func(t *testing.T) {
		names := make(chan string, 1)
		addr := serve(t, func(c net.Conn, _ int) {
			tls.Server(c, &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
				names <- hello.ServerName + " " + strings.Join(hello.SupportedProtos, ",")
				return nil, errors.New("enough")
			}}).Handshake()
		})
		hop(t, "https://proxy.test", to(addr)).DialContext(t.Context(), "tcp", target)
		if got := <-names; got != "proxy.test h2,http/1.1" {
			t.Errorf("server name and ALPN: %q", got)
		}
	})
}

// TestEdgeCase25_CutBeforeTheRequest: a proxy that wants a certificate says so
// after the handshake, and by then may have cut the connection already.
func TestEdgeCase25_CutBeforeTheRequest(t *testing.T) {
	ca := newAuthority(t)
	server := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "proxy.test", time.Now().Add(time.Hour))}, ClientAuth: tls.RequireAnyClientCert}
	refused := make(chan struct{})
	addr := serve(t, func(c net.Conn, _ int) {
		tls.Server(c, server).Handshake()
		close(refused)
	})
	h := hop(t, "https://proxy.test", func(ctx context.Context, network, _ string) (net.Conn, error) {
		c, err := to(addr)(ctx, network, "")
		return &cut{Conn: c, after: 2, when: refused}, err // ClientHello, then the rest of the handshake
	})
	h.TLS = &tls.Config{RootCAs: ca.pool()}
	_, err := h.DialContext(t.Context(), "tcp", target)
	if want := "forward proxy https://proxy.test:443: tls: remote error: tls: certificate required"; text(err) != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// A cut connection takes some writes and, when the time has come, none any more.
type cut struct {
	net.Conn
	after int
	when  chan struct{}
}

func (c *cut) Write(p []byte) (int, error) {
	if c.after--; c.after >= 0 {
		return c.Conn.Write(p)
	}
	<-c.when
	return 0, errRefused
}
