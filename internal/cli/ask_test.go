package cli_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/check"
	"github.com/pomerium/pomerium-cli/internal/cli"
	"github.com/pomerium/pomerium-cli/internal/edge"
	"github.com/pomerium/pomerium-cli/internal/sock"
	"github.com/pomerium/pomerium-cli/proxy"
	"github.com/pomerium/pomerium-cli/tunnel"
)

// unverified is the error of a handshake with a certificate of somebody.
func unverified(issuer string, why error) error {
	cert := &x509.Certificate{Subject: pkix.Name{CommonName: "somebody"}, Issuer: pkix.Name{CommonName: issuer}}
	return fmt.Errorf("%w (...)", &tls.CertificateVerificationError{UnverifiedCertificates: []*x509.Certificate{cert}, Err: why})
}

func atEdge(op string, err error) error {
	return &tunnel.Error{Edge: "pomerium.example.com", Op: op, Err: err}
}

// requests has a row for each thing to ask of those who run the network.
var requests = []struct {
	err  error
	want string // "": nothing
}{
	{proxyErr(proxy.OpDial, nil), "is http://proxy.internal:3128 the forward proxy for this network, and may this machine connect to it?"},
	{proxyErr(proxy.OpDial, func(e *proxy.Error) { e.Err = &net.DNSError{Name: "proxy.internal"} }), "The name servers of this machine do not resolve its name"},
	{proxyErr(proxy.OpDial, func(e *proxy.Error) { e.Err = cli.ErrLoop }), ""},
	{proxyErr(proxy.OpTLS, func(e *proxy.Error) { e.Err = unverified("CA", x509.UnknownAuthorityError{}) }), "the certificate of the authority that has issued the certificate of the forward proxy http://proxy.internal:3128"},
	{proxyErr(proxy.OpTLS, func(e *proxy.Error) { e.Err = errors.New("remote error: tls: bad certificate") }), "please issue me a client certificate for the forward proxy http://proxy.internal:3128"},
	{proxyErr(proxy.OpTLS, func(e *proxy.Error) { e.Err = context.DeadlineExceeded }), "why the forward proxy http://proxy.internal:3128 does not finish a TLS handshake"},
	{proxyErr(proxy.OpTLS, func(e *proxy.Error) { e.Err = io.EOF }), "does not finish a TLS handshake"},
	{proxyErr(proxy.OpTLS, nil), ""},
	{proxyErr(proxy.OpAuth, func(e *proxy.Error) { e.Err = proxy.ErrRejected }), "does my user at the forward proxy http://proxy.internal:3128 still exist, and is it not locked?"},
	{proxyErr(proxy.OpAuth, func(e *proxy.Error) { e.Err = proxy.ErrNoService }), "(SPN)"},
	{proxyErr(proxy.OpAuth, func(e *proxy.Error) { e.Schemes = []string{"Bearer"} }), "which offers Bearer?"},
	{proxyErr(proxy.OpAuth, func(e *proxy.Error) { e.Schemes = []string{"Basic"} }), "which user may a program give"},
	{proxyErr(proxy.OpConnect, func(e *proxy.Error) { e.Status, e.Header = 403, http.Header{"X-Squid-Error": {"ERR_ACCESS_DENIED 0"}} }),
		"please allow CONNECT to edge.example.com:443 on the forward proxy http://proxy.internal:3128 for the user or machine that I use (X-Squid-Error: ERR_ACCESS_DENIED 0)"},
	{proxyErr(proxy.OpConnect, func(e *proxy.Error) { e.Err = proxy.Reply(2) }), "please allow CONNECT to edge.example.com:443"},
	{proxyErr(proxy.OpConnect, func(e *proxy.Error) { e.Err = proxy.Reply(4) }), "can it look the name up, and may it connect to that port?"},
	{proxyErr(proxy.OpConnect, func(e *proxy.Error) { e.Status = 503 }), "cannot reach edge.example.com:443"},
	{proxyErr(proxy.OpConnect, func(e *proxy.Error) { e.Status = 418 }), "answers CONNECT to edge.example.com:443 with 418"},
	{proxyErr(proxy.OpConnect, func(e *proxy.Error) { e.Err = context.DeadlineExceeded }), "does not answer CONNECT to edge.example.com:443"},
	{proxyErr(proxy.OpConnect, func(e *proxy.Error) { e.Status, e.Location = 302, "portal.example.com" }), ""},
	{proxyErr(proxy.OpConnect, func(e *proxy.Error) { e.Err = &proxy.WrongProtocol{Want: "HTTP", Got: "SSH"} }), ""},

	{atEdge("tls", unverified("Inspection CA", x509.UnknownAuthorityError{})), "please exclude pomerium.example.com from TLS inspection: its certificate comes from CN=Inspection CA; or send me"},
	{atEdge("tls", unverified("Block page", x509.HostnameError{Certificate: &x509.Certificate{}})), "come to a server with the certificate of CN=somebody, from CN=Block page"},
	{atEdge("tls", context.DeadlineExceeded), "please let TLS to pomerium.example.com pass"},
	{atEdge("tls", io.ErrUnexpectedEOF), "please let TLS to pomerium.example.com pass"},
	{atEdge("tls", &net.OpError{Op: "read", Err: sock.ErrReset}), "(SNI)"},
	{atEdge("tls", tunnel.ErrNotTLS), ""},
	{atEdge("connect", io.ErrUnexpectedEOF), ""},
	{atEdge("connect", tunnel.ErrNoAnswer), "please exclude pomerium.example.com from TLS inspection: CONNECT requests inside of TLS do not reach it"},
	{&edge.AnswerError{Edge: "pomerium.example.com", Destination: "db:1", Status: 403, Reason: "a page of a proxy"}, "please exclude pomerium.example.com from TLS inspection"},
	{&edge.AnswerError{Edge: "pomerium.example.com", Status: 403}, ""},

	{&net.DNSError{Name: "pomerium.example.com", IsNotFound: true}, "which forward proxy do programs on this network use?"},
	{&net.OpError{Op: "dial", Err: sock.ErrRefused}, "connect to the Pomerium server directly"},
	{errors.New("x"), ""},
}

func TestRequests(t *testing.T) {
	for _, c := range requests {
		if got := cli.AskFor(c.err); !strings.Contains(got, c.want) || (c.want == "") != (got == "") {
			t.Errorf("%v:\n got %q\nwant %q", c.err, got, c.want)
		}
	}
}

// TestEveryRequestIsTested fails for a new row of the table without a row above.
func TestEveryRequestIsTested(t *testing.T) {
	for i, ask := range cli.Asks() {
		used := false
		for _, c := range requests {
			used = used || ask(c.err) != ""
		}
		if !used {
			t.Errorf("request %d is used by no row", i)
		}
	}
}

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		step      check.Step
		hint, ask string
	}{
		{check.Step{Name: check.StepIdle, State: check.Note, At: "https://pomerium.example.com", Cut: 60, Closed: true}, "--keep-alive 20s", "connections are cut after 1m0s without a byte"},
		{check.Step{Name: check.StepIdle, State: check.Note, Cut: 5.2}, "--keep-alive 2s", "after 5.2s"},
		{check.Step{Name: check.StepIdle, State: check.Note, Cut: 0.5}, "--keep-alive 1s", "after 500ms"},
		{check.Step{Name: check.StepConnect, State: check.Failed, Err: proxyErr(proxy.OpConnect, func(e *proxy.Error) { e.Status = 403 })}, "ask whoever runs the proxy", "please allow CONNECT"},
		{check.Step{Name: check.StepDestination, State: check.Note, Err: answer(401, edge.AuthorPomerium, "")}, "", ""},
	} {
		hint, ask := cli.Explain(c.step)
		if !strings.Contains(hint, c.hint) || !strings.Contains(ask, c.ask) || (c.hint == "") != (hint == "") {
			t.Errorf("%+v: %q, %q", c.step, hint, ask)
		}
	}
}
