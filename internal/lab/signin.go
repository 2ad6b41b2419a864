package lab

import (
	"context"
	"crypto/hmac"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"html"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// signInLife is how long a signed URL is good, sign-in with the identity provider included.
const signInLife = 5 * time.Minute

// get answers what is not a CONNECT: the few paths of the control plane that a client asks for.
func (e *edge) get(r *request) *answer {
	path, query := r.split()
	switch {
	case r.method != http.MethodGet:
		return text(http.StatusMethodNotAllowed, "Method Not Allowed\n")
	case path == "/healthz": // whatever the token
		return text(http.StatusOK, "OK")
	case path == "/.pomerium/index.js": // the script of its pages: here 1 MiB of nothing
		return text(http.StatusOK, strings.Repeat("// only a sample", 1<<16))
	case path == "/.pomerium/api/v1/login":
		return e.login(r, query)
	case path == "/.pomerium/callback/":
		return e.callback(r, query)
	case path == "/.pomerium/user":
		return e.user(r)
	case path == "/.pomerium/api/v1/routes":
		return e.listRoutes(r)
	}
	return byEnvoy(r, http.StatusNotFound, "route_not_found")
}

// login hands out a signed URL of the sign-in page. The callback in it is made from the Host of
// this very request, as it stands.
func (e *edge) login(r *request, query url.Values) *answer {
	to := query.Get("pomerium_redirect_uri")
	if to == "" {
		return text(http.StatusNotFound, "Not Found\n")
	}
	u, err := url.Parse(to)
	if err != nil || !redirectAllowed(u) {
		return byPomerium(r, http.StatusBadRequest, "Bad Request")
	}
	callback := e.callbackURL(r.authority)
	signIn := url.URL{Scheme: "http", Host: e.lab.signIn, Path: "/.pomerium/sign_in"}
	return text(http.StatusOK, e.lab.sessions.sign(signIn,
		url.Values{"pomerium_redirect_uri": {to}, "pomerium_callback_uri": {callback.String()}}))
}

func (e *edge) callbackURL(host string) url.URL {
	scheme := "https"
	if e.lab.config.LocalCallback {
		scheme, host = "http", e.lab.signIn
	}
	return url.URL{Scheme: scheme, Host: host, Path: "/.pomerium/callback/"}
}

// redirectAllowed applies programmatic_redirect_domain_whitelist with its one default entry,
// localhost, which stands for every loopback.
func redirectAllowed(u *url.URL) bool {
	host := u.Hostname()
	return (u.Scheme == "http" || u.Scheme == "https") && (host == "localhost" || net.ParseIP(host).IsLoopback())
}

// sign returns the URL with the query and an expiry, signed as a whole.
func (s *sessions) sign(u url.URL, query url.Values) string {
	query.Set("pomerium_expiry", strconv.FormatInt(time.Now().Add(signInLife).Unix(), 10))
	u.RawQuery = query.Encode()
	query.Set("pomerium_signature", hex.EncodeToString(s.mac(u.String())))
	u.RawQuery = query.Encode()
	return u.String()
}

// verify checks a URL that sign made, from the request that it became.
func (s *sessions) verify(u url.URL, query url.Values) error {
	signature, _ := hex.DecodeString(query.Get("pomerium_signature"))
	signed := make(url.Values)
	for k, v := range query {
		if k != "pomerium_signature" {
			signed[k] = v
		}
	}
	u.RawQuery = signed.Encode()
	if !hmac.Equal(signature, s.mac(u.String())) {
		return errors.New("hmac failed")
	}
	if expiry, _ := strconv.ParseInt(query.Get("pomerium_expiry"), 10, 64); time.Now().Unix() > expiry+60 {
		return errors.New("url expired")
	}
	return nil
}

// callback ends a sign-in: a token goes to the client's redirect URI, which is otherwise left as
// it is.
func (e *edge) callback(r *request, query url.Values) *answer {
	// A browser leaves the default port out, and the signature covers the host.
	if err := e.lab.sessions.verify(e.callbackURL(strings.TrimSuffix(r.authority, ":443")), query); err != nil {
		return byPomerium(r, http.StatusBadRequest, err.Error())
	}
	to, sep := query.Get("pomerium_redirect_uri"), "?"
	if strings.Contains(to, "?") {
		sep = "&"
	}
	e.lab.signIns.Add(1)
	return redirect(to+sep+"pomerium_jwt="+e.lab.Token(), "")
}

// startSignIn starts the page that stands for the authenticate service and the identity provider.
// It has a listener of its own without TLS, so that any browser on this machine can show it.
func (l *Lab) startSignIn() error {
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	l.signIn = ln.Addr().String()
	mux := http.NewServeMux()
	mux.HandleFunc("/.pomerium/sign_in", l.signInPage)
	mux.HandleFunc("GET /.pomerium/callback/", func(w http.ResponseWriter, req *http.Request) {
		r := newRequest(req.Method, req.Host, req.URL.RequestURI(), req.Header)
		a := l.edge.answered(r, l.edge.get(r))
		for _, f := range a.fields(r) {
			w.Header().Set(f.name, f.value)
		}
		w.WriteHeader(a.status)
		io.WriteString(w, a.body)
	})
	srv := &http.Server{Handler: mux, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: 10 * time.Second}
	l.track(srv)
	l.run(func() { srv.Serve(ln) })
	return nil
}

// signInPage shows a button; pressing it signs in and goes on to the callback.
func (l *Lab) signInPage(w http.ResponseWriter, req *http.Request) {
	query := req.URL.Query()
	if err := l.sessions.verify(url.URL{Scheme: "http", Host: l.signIn, Path: req.URL.Path}, query); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if req.Method != http.MethodPost {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, page("Sign in to the lab", `<form method="post" action="`+html.EscapeString(req.URL.String())+
			`"><button>Sign in as demo user</button></form>`))
		return
	}
	callback, err := url.Parse(query.Get("pomerium_callback_uri"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	http.Redirect(w, req, l.sessions.sign(*callback, url.Values{
		"pomerium_redirect_uri": {query.Get("pomerium_redirect_uri")}}), http.StatusFound)
}

// Browse does what a user does with a sign-in URL: it opens the page in a browser that reaches the
// edge through the lab's proxy, presses the button and follows where that leads. It fails unless
// the last page, the client's own, is a 200.
func (l *Lab) Browse(ctx context.Context, signInURL string) error {
	proxy := l.proxies["http"]
	transport := &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: l.edgeCA.pool()},
		Proxy: func(req *http.Request) (*url.URL, error) {
			if strings.HasSuffix(req.URL.Hostname(), ".lab") {
				return proxy, nil
			}
			return nil, nil
		},
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, signInURL, nil)
	if err != nil {
		return errors.New("browsing: bad sign-in url")
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		if e := (*url.Error)(nil); errors.As(err, &e) {
			err = e.Err // without the URL, which may hold the token
		}
		return fmt.Errorf("browsing: %w", err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("browsing: %s at the end", resp.Status)
	}
	return nil
}
