//go:build linux

package world

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/client/rp"
	"github.com/zitadel/oidc/v3/pkg/oidc"
)

// The identity provider, and the one person that it knows.
const (
	idpName      = "idp.test"
	idpClient    = "edge"
	idpSecret    = "e2e"
	PersonName   = "test-user@" + idpName
	PersonSecret = "verysecure"
	PersonEmail  = "test-user@zitadel.ch"
)

// IdentityProvider is a real OpenID Connect provider on the edge's host, with its own sign-in form, and the edge as its client.
type IdentityProvider struct {
	CA Authority

	rp   rp.RelyingParty
	http *http.Server
}

// IdentityProvider starts one, or returns the one that runs. The edge's sign-in page leads there until stop is called.
func (w *World) IdentityProvider(ctx context.Context) (_ *IdentityProvider, stop func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.idp == nil {
		if w.idp, err = w.startIDP(ctx); err != nil {
			return nil, nil, err
		}
	}
	w.SignIn.use(w.idp)
	return w.idp, func() { w.SignIn.use(nil) }, nil
}

func (w *World) startIDP(ctx context.Context) (*IdentityProvider, error) {
	ca, err := NewAuthority(w.Dir, "idp", idpName)
	if err != nil {
		return nil, err
	}
	p := &IdentityProvider{CA: ca}
	back := EdgeURL + idpCallback
	storage.RegisterClients(storage.WebClient(idpClient, idpSecret, back))
	users := storage.NewStorage(storage.NewUserStore("https://" + idpName))
	quiet := slog.New(slog.DiscardHandler) // it becomes the process's, and nobody else here logs
	p.http = &http.Server{
		Handler:  exampleop.SetupServer("https://"+idpName, users, quiet, false),
		ErrorLog: log.New(io.Discard, "", 0),
	}
	if _, err := w.serve(edgeAddr+":443", func(ln net.Listener) {
		go p.http.ServeTLS(ln, ca.Cert, ca.Key) // ended by Close
		w.onClose(func() { p.http.Close() })
	}); err != nil {
		return nil, err
	}
	client, err := w.idpTransport(ca)
	if err != nil {
		return nil, err
	}
	scopes := []string{oidc.ScopeOpenID, oidc.ScopeProfile, oidc.ScopeEmail}
	p.rp, err = rp.NewRelyingPartyOIDC(ctx, "https://"+idpName, idpClient, idpSecret, back, scopes, rp.WithHTTPClient(client), rp.WithLogger(quiet))
	return p, err
}

// idpTransport reaches the provider as the edge does.
func (w *World) idpTransport(ca Authority) (*http.Client, error) {
	pem, err := os.ReadFile(ca.CA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		DisableKeepAlives: true,
		DialContext: func(_ context.Context, network, _ string) (net.Conn, error) {
			return w.EdgeHost.Dial(network, edgeAddr+":443")
		},
	}
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}, nil
}

// url is where a browser goes to sign in.
func (p *IdentityProvider) url(state string) string { return rp.AuthURL(state, p.rp) }

// whoIs redeems the code that a browser has been sent back with: the person's e-mail address.
func (p *IdentityProvider) whoIs(r *http.Request) (string, error) {
	ctx := r.Context()
	tokens, err := rp.CodeExchange[*oidc.IDTokenClaims](ctx, r.FormValue("code"), p.rp)
	if err != nil {
		return "", err
	}
	info, err := rp.Userinfo[*oidc.UserInfo](ctx, tokens.AccessToken, tokens.TokenType, tokens.IDTokenClaims.Subject, p.rp)
	if err != nil {
		return "", err
	}
	return info.Email, nil
}
