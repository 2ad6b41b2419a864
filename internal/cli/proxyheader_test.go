package cli_test

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// asked is a forward proxy that refuses everything, and says what it was asked.
func asked(t *testing.T, secure bool) (s *httptest.Server, requests chan *http.Request) {
	requests = make(chan *http.Request, 1)
	s = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		requests <- r
		rw.WriteHeader(http.StatusForbidden)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if secure {
		s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s, requests
}

// TestForwardProxyAlone: header, certificate and server name are for the
// forward proxy and for no other.
func TestForwardProxyAlone(t *testing.T) {
	w := newWorld(t)
	forward, requests := asked(t, true)
	ca := w.file(t, "ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: forward.Certificate().Raw}))
	certPEM, keyPEM, err := w.ClientCert()
	if err != nil {
		t.Fatal(err)
	}
	cert, key := w.file(t, "client.pem", certPEM), w.file(t, "client-key.pem", keyPEM)
	env := map[string]string{"POMERIUM_SERVICE_ACCOUNT": w.Token()}
	flags := []string{"--listen", "-", "--forward-proxy", forward.URL, "--forward-proxy-ca-path", ca,
		"--forward-proxy-header", "X-Team: red", "--forward-proxy-header", "x-team:blue", "--forward-proxy-tls-server-name", "example.com"}

	bare := &run{env: env}
	bare.main(t, w.tcp("echo.lab:7", flags...)...)
	if bare.code != 3 || !strings.Contains(bare.stderr, "--forward-proxy-client-cert and --forward-proxy-client-key") {
		t.Errorf("without a certificate: exit code %d, %s", bare.code, bare.stderr)
	}
	flags = append(flags, "--forward-proxy-client-cert", cert, "--forward-proxy-client-key", key)
	r := &run{env: env}
	r.main(t, w.tcp("echo.lab:7", flags...)...)
	select {
	case got := <-requests:
		if teams := strings.Join(got.Header["X-Team"], " "); teams != "red blue" || got.TLS.ServerName != "example.com" || len(got.TLS.PeerCertificates) != 1 {
			t.Errorf("X-Team %q, server name %q, %d certificates", teams, got.TLS.ServerName, len(got.TLS.PeerCertificates))
		}
	default:
		t.Errorf("it was not asked: exit code %d, %s", r.code, r.stderr)
	}
	near, requests := asked(t, false)
	r.main(t, w.tcp("echo.lab:7", append(flags, "--pre-proxy", near.URL)...)...)
	select {
	case got := <-requests:
		if teams := got.Header["X-Team"]; len(teams) > 0 {
			t.Errorf("the proxy before it got %q", teams)
		}
	default:
		t.Errorf("the proxy before was not asked: exit code %d, %s", r.code, r.stderr)
	}
	near, requests = asked(t, true)
	r.main(t, w.tcp("echo.lab:7", append(flags, "--pre-proxy", near.URL)...)...)
	if len(requests) > 0 || !strings.Contains(r.stderr, "(--pre-proxy): tls: ") || !strings.Contains(r.stderr, "hint: --forward-proxy-client-cert is for the last proxy") {
		t.Errorf("the proxy before, which wants a certificate: %d requests, exit code %d, %s", len(requests), r.code, r.stderr)
	}
}

// TestPreProxyIsNotToldThePassword of the forward proxy, whatever it asks.
func TestPreProxyIsNotToldThePassword(t *testing.T) {
	w := newWorld(t)
	near, user, password := bare(t, w.ProxyURL("http+password"))
	file := w.file(t, "login", []byte(user+":"+password+"\n"))
	for name, r := range map[string]*run{
		"variables": {env: map[string]string{"POMERIUM_FORWARD_PROXY_USER": user, "POMERIUM_FORWARD_PROXY_PASSWORD": password}},
		"file":      {},
	} {
		args := w.tcp("echo.lab:7", "--listen", "-", "--pre-proxy", near, "--forward-proxy", w.ProxyURL("http"), "--service-account", w.Token())
		if name == "file" {
			args = append(args, "--forward-proxy-credentials-file", file)
		}
		r.main(t, args...)
		if r.code != 3 || !strings.Contains(r.stderr, "(--pre-proxy): authenticate: the proxy asks for authentication (Basic) and there is no user and password for it") ||
			!strings.Contains(r.stderr, "hint: put user and password in --pre-proxy") {
			t.Errorf("%s: exit code %d, %s", name, r.code, r.stderr)
		}
	}
}

func TestEdgeCase23_ForwardProxyHeaderRefused(t *testing.T) {
	for line, want := range map[string]string{
		"":                              "not of the form 'Name: value'",
		"canary":                        "not of the form 'Name: value'",
		"X Y: canary":                   "not of the form 'Name: value'",
		"X\r\nY: canary":                "not of the form 'Name: value'",
		": canary":                      "not of the form 'Name: value'",
		"X: canary\r\nY: z":             "X: its value has a line break",
		"X: canary\n":                   "X: its value has a line break",
		"X: canary\x00":                 "X: its value has a line break",
		"host: canary":                  "host: it says how the request is framed",
		"Content-Length: 1":             "Content-Length: it says how the request is framed",
		"Transfer-Encoding: chunked":    "Transfer-Encoding: it says how the request is framed",
		"connection: close":             "connection: it is about the connection",
		"Keep-Alive: timeout=5":         "Keep-Alive: it is about the connection",
		"Proxy-Connection: close":       "Proxy-Connection: it is about the connection",
		"Trailer: X":                    "Trailer: it says how the request is framed",
		"Expect: 100-continue":          "Expect: it says how the request is framed",
		"Proxy-Authenticate: canary":    "POMERIUM_FORWARD_PROXY_PASSWORD",
		"TE: trailers":                  "TE: it is about the connection",
		"Upgrade: h2c":                  "Upgrade: it is about the connection",
		"Proxy-Authorization: B canary": "POMERIUM_FORWARD_PROXY_PASSWORD",
	} {
		r := &run{}
		r.main(t, "tcp", "db.example.com:5432", "--forward-proxy-header", line)
		if r.code != 2 || !strings.Contains(r.stderr, "--forward-proxy-header") || !strings.Contains(r.stderr, want) || strings.Contains(r.stderr, "canary") {
			t.Errorf("%q: exit code %d, %s", line, r.code, r.stderr)
		}
	}
}
