package tunnel_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/tunnel"
)

// secure is a server with a certificate that nobody trusts; the test fails when
// it is asked for anything.
func secure(t *testing.T) (*url.URL, *tls.Config) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the edge was asked") }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u, s.Client().Transport.(*http.Transport).TLSClientConfig
}

func TestReach(t *testing.T) {
	u, trusted := secure(t)
	var said bytes.Buffer
	c := &tunnel.Client{Edge: u, TLS: trusted, Log: slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	if err := c.Reach(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := `msg="edge tls"`; !strings.Contains(said.String(), want) || !strings.Contains(said.String(), `issuer="O=Acme Co"`) {
		t.Errorf("logged: %s", said.String())
	}
}

// TestEdgeCase49_UnknownAuthority: who issued the certificate is named, because
// that is most often the forward proxy's own authority.
func TestEdgeCase49_UnknownAuthority(t *testing.T) {
	u, _ := secure(t)
	for name, try := range map[string]func(*tunnel.Client) error{
		"reach":   func(c *tunnel.Client) error { return c.Reach(t.Context()) },
		"connect": func(c *tunnel.Client) error { _, err := c.Connect(t.Context(), "db.internal:5432"); return err },
	} {
		t.Run(name, func(t *testing.T) {
			c := &tunnel.Client{Edge: u}
			defer c.Close()
			err := try(c)
			if !errors.As(err, new(x509.UnknownAuthorityError)) || !strings.HasSuffix(err.Error(), "(certificate of O=Acme Co, issued by O=Acme Co)") {
				t.Errorf("%v", err)
			}
		})
	}
}
