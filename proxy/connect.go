package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/pomerium/pomerium-cli/internal/h2connect"
)

// userAgent is sent because some proxies refuse requests without one.
const userAgent = "pomerium-cli"

// A line is where an HTTP proxy is asked for a tunnel: a connection of its own
// over HTTP/1.1 (wire), or a place on a shared one over HTTP/2 (seat).
type line interface {
	// ask sends one CONNECT and reads the answer. A *missed error says that it
	// may be sent again on another line.
	ask(ctx context.Context, target, credentials string) (*reply, error)
	// next makes the line ready for another request behind the answer, if it can.
	next(*reply) bool
	// opened returns the tunnel that the proxy has agreed to with status.
	opened(ctx context.Context, target string, status int) (net.Conn, error)
	close()
}

// A missed request has got no answer, for a reason that says nothing about it.
type missed struct {
	error
	unread bool // the proxy has not looked at it, nor at its credentials
}

func (e *missed) Unwrap() error { return e.error }

// maxMissed bounds how often one tunnel is asked for.
const maxMissed = 5

// connect asks an HTTP proxy for a tunnel (RFC 9110 9.3.6), answering its 407s.
func (h *Hop) connect(ctx context.Context, target string) (net.Conn, error) {
	login := h.login(http.MethodConnect, target)
	defer login.done()
	var l line // nil: to be opened
	for tries := 0; ; {
		var err error
		if l == nil {
			if l, err = h.line(ctx, login); err != nil {
				return nil, h.unsent(ctx, target, login, err)
			}
		}
		if err := login.admit(ctx); err != nil {
			l.close()
			return nil, h.unsent(ctx, target, login, err)
		}
		answer, err := l.ask(ctx, target, login.take())
		if err != nil {
			l.close()
			if again := (*missed)(nil); errors.As(err, &again) && ctx.Err() == nil && tries < maxMissed {
				if !h2connect.Full(err) { // others were quicker on that connection: it was not even tried
					tries++
				}
				login.missed(again)
				l = nil
				continue
			}
			return nil, h.fail(ctx, OpConnect, target, err)
		}
		h.heard(ctx, answer, login)
		if answer.status/100 == 2 {
			login.accepted()
			return l.opened(ctx, target, answer.status)
		}
		if answer.status != http.StatusProxyAuthRequired {
			return nil, h.refused(ctx, l, target, answer, login)
		}
		if err := login.answer(ctx, answer.header["Proxy-Authenticate"]); err != nil {
			return nil, h.unanswered(ctx, l, target, answer, login, err)
		}
		if login.elsewhere() || !l.next(answer) {
			l.close()
			l = nil
		}
	}
}

// heard logs how the proxy names itself and, in a 407, what it asks for.
func (h *Hop) heard(ctx context.Context, answer *reply, l *login) {
	if !h.log().Enabled(ctx, slog.LevelDebug) {
		return
	}
	var agent []string
	for _, name := range []string{"Server", "Proxy-Agent", "Via", "X-Squid-Error"} {
		if value := quote(printable(strings.Join(answer.header[name], ", ")), l.secrets()); value != "" {
			agent = append(agent, name+": "+value)
		}
	}
	h.log().DebugContext(ctx, "proxy answered", "hop", h.String(), "status", answer.status, "agent", strings.Join(agent, "; "),
		"offered", strings.Join(l.named(parseChallenges(answer.header["Proxy-Authenticate"])), ", "))
}

// line finds or opens where to ask, and tells the login.
func (h *Hop) line(ctx context.Context, login *login) (line, error) {
	if login.stuck() { // another connection would be opened for nothing
		return nil, ErrParted
	}
	if h.URL.Scheme == "https" {
		return h.lineTLS(ctx, login)
	}
	w, err := h.open(ctx)
	if err != nil {
		return nil, err
	}
	return w, w.begin(ctx, login)
}

// begin tells the login of its connection.
func (w *wire) begin(ctx context.Context, login *login) error {
	err := login.on(ctx, w.conn, false)
	if err != nil {
		w.close()
	}
	return err
}

// ask sends one request and reads the head of the answer.
func (w *wire) ask(_ context.Context, target, credentials string) (*reply, error) {
	answer, err := w.send(w.hop.request(target, credentials))
	switch {
	case err == nil:
		answer.text = func() ([]byte, bool) { return w.body(answer) }
	case w.kept && len(w.in) == 0 && isClosed(err):
		err = &missed{error: err} // it promised to stay and left: RFC 9112 9.3.1 has us ask anew
	}
	return answer, err
}

func (w *wire) send(request []byte) (*reply, error) {
	if _, err := w.conn.Write(request); err != nil {
		if alert := w.alert(); alert != nil {
			return nil, alert
		}
		return nil, fmt.Errorf("sending the request: %w", err)
	}
	return w.head()
}

// alert is why the proxy has ended TLS, if it said so before it cut the
// connection: TLS 1.3 has its client done before its certificate is judged.
func (w *wire) alert() error {
	var alert *net.OpError
	if err := w.peek(); errors.As(err, &alert) && alert.Op == "remote error" {
		return err
	}
	return nil
}

func (w *wire) next(answer *reply) bool {
	w.kept = answer.keepAlive() && w.drain(answer)
	return w.kept
}

// isClosed says whether err is the end of the connection, clean or not.
func isClosed(err error) bool {
	var broken *net.OpError // a reset has another number on each system
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &broken)
}

// request writes the head of the CONNECT. Host is the authority, with its port
// (RFC 9112 3.2.3); some proxies refuse a request without Proxy-Connection.
func (h *Hop) request(target, credentials string) []byte {
	var b strings.Builder
	line := func(name, value string) { b.WriteString(name + ": " + value + "\r\n") }
	b.WriteString("CONNECT " + target + " HTTP/1.1\r\n")
	line("Host", target)
	header := http.Header{"User-Agent": {userAgent}, "Proxy-Connection": {"Keep-Alive"}}
	for name, values := range h.Header {
		header[http.CanonicalHeaderKey(name)] = values
	}
	if credentials != "" {
		header["Proxy-Authorization"] = []string{credentials}
	}
	names := make([]string, 0, len(header))
	for name := range header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range header[name] {
			line(name, value)
		}
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}

// checkHeader refuses what would break out of its line or change the request.
func checkHeader(header http.Header) error {
	for name, values := range header {
		if !httpguts.ValidHeaderFieldName(name) {
			return errors.New("the name of an extra header has a character that is not allowed")
		}
		switch http.CanonicalHeaderKey(name) {
		case "Host", "Content-Length", "Transfer-Encoding":
			return fmt.Errorf("the extra header %s is not ours to set", name)
		}
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				return fmt.Errorf("the value of the extra header %s has a line break or control character", name)
			}
		}
	}
	return nil
}

// refused explains an answer that is neither 2xx nor 407, and closes the line.
func (h *Hop) refused(ctx context.Context, on line, target string, answer *reply, l *login) error {
	var err error
	op, status := OpConnect, h.statusText(answer, l)
	switch {
	case answer.status == http.StatusUnauthorized && l.demand != nil:
		// What tinyproxy says to a wrong password.
		l.rejected()
		op, err = OpAuth, fmt.Errorf("%s: %w", status, ErrRejected)
	case answer.status == http.StatusUnauthorized:
		// 401 is for servers. Sending it the proxy's password would be a guess.
		err = fmt.Errorf("%s: a web server asks for a password like that, a proxy does with 407; nothing is sent", status)
	case answer.status/100 == 3 && locationHost(answer) != "":
		err = fmt.Errorf("%s to %s: a captive portal?", status, quote(locationHost(answer), l.secrets()))
	default:
		err = errors.New(status)
	}
	body, _ := answer.text()
	on.close()
	return h.answered(ctx, op, target, answer, body, l, err)
}

// unanswered explains a 407 that cannot be answered, and closes the line.
func (h *Hop) unanswered(ctx context.Context, on line, target string, answer *reply, l *login, err error) error {
	body, _ := answer.text()
	on.close()
	return h.answered(ctx, OpAuth, target, answer, body, l, err)
}

// unsent explains why credentials are not sent.
func (h *Hop) unsent(ctx context.Context, target string, l *login, err error) error {
	var failed *Error
	if errors.As(err, &failed) {
		return failed // from reaching the proxy
	}
	failed = h.fail(ctx, OpAuth, target, err)
	failed.Schemes = l.schemes
	return failed
}

// answered makes the error of an answer, with what the proxy said about it.
func (h *Hop) answered(ctx context.Context, op, target string, answer *reply, body []byte, l *login, err error) *Error {
	failed := h.fail(context.WithoutCancel(ctx), op, target, err) // what was said counts, even late
	failed.Status = answer.status
	failed.Schemes = l.schemes
	failed.Location = quote(locationHost(answer), l.secrets())
	if text := quote(gist(answer, body), l.secrets()); text != h.statusText(answer, l) { // said already
		failed.Body = text
	}
	for _, name := range []string{"Proxy-Status", "Retry-After", "Via", "X-Squid-Error"} {
		value := quote(printable(strings.Join(answer.header[name], ", ")), l.secrets())
		if value == "" {
			continue
		}
		if failed.Header == nil {
			failed.Header = make(http.Header)
		}
		failed.Header.Set(name, value)
	}
	return failed
}

func (h *Hop) statusText(answer *reply, l *login) string {
	reason := quote(printable(answer.reason), l.secrets())
	if reason == "" {
		reason = http.StatusText(answer.status)
	}
	return strings.TrimSpace(strconv.Itoa(answer.status) + " " + reason)
}

// locationHost is all of a Location that is shown: the rest may hold a ticket.
func locationHost(answer *reply) string {
	u, err := url.Parse(answer.header.Get("Location"))
	if err != nil {
		return ""
	}
	return printable(u.Host)
}
