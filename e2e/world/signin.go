package world

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// idpCallback is where an identity provider sends browsers back to.
const idpCallback = "/.pomerium/oauth2/callback"

// SignIn is what an edge serves below /.pomerium/: a login URL for programs, the page behind it, and the check of a token.
// Whoever opens the page is signed in at once, or by an identity provider where there is one.
type SignIn struct {
	authz *Authz
	http  *http.Server
	sent  atomic.Int64 // bytes of the script

	mu      sync.Mutex
	visited int
	idp     provider
	back    map[string]string // where a browser goes in the end, by state
	emails  map[string]string // by token
}

// provider is what SignIn needs of an identity provider.
type provider interface {
	url(state string) string
	whoIs(r *http.Request) (email string, err error)
}

// StartSignIn serves on ln until Close. The tokens it gives out are good at authz.
func StartSignIn(ln net.Listener, authz *Authz) *SignIn {
	s := &SignIn{authz: authz, back: make(map[string]string), emails: make(map[string]string)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.pomerium/api/v1/login", s.login)
	mux.HandleFunc("GET /.pomerium/sign_in", s.page)
	mux.HandleFunc("GET "+idpCallback, s.signedIn)
	mux.HandleFunc("GET /.pomerium/user", s.user)
	mux.HandleFunc("GET /.pomerium/index.js", s.script)
	s.http = &http.Server{Handler: mux}
	go s.http.Serve(ln) // ended by Close
	return s
}

// Close stops serving.
func (s *SignIn) Close() { s.http.Close() }

// Visits says how often a login URL was opened.
func (s *SignIn) Visits() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.visited
}

// ScriptSize is how many bytes the script has that the pages of an edge are made with.
const ScriptSize = 1 << 20

// Sent says how many bytes of scripts have been sent.
func (s *SignIn) Sent() int64 { return s.sent.Load() }

// script is served to whoever asks.
func (s *SignIn) script(w http.ResponseWriter, r *http.Request) {
	http.ServeContent(counted{w, &s.sent}, r, "index.js", time.Time{}, bytes.NewReader(make([]byte, ScriptSize)))
}

// counted counts what is written.
type counted struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c counted) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b))) // before the other side can have them
	return c.ResponseWriter.Write(b)
}

// use has an identity provider sign people in; nil: nobody does.
func (s *SignIn) use(p provider) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idp = p
}

func (s *SignIn) login(w http.ResponseWriter, r *http.Request) {
	back, err := url.Parse(r.FormValue("pomerium_redirect_uri"))
	if err != nil || back.Scheme != "http" || !(back.Hostname() == "localhost" || net.ParseIP(back.Hostname()).IsLoopback()) {
		http.Error(w, `{"error":"invalid redirect uri"}`, http.StatusBadRequest)
		return
	}
	page := url.URL{Scheme: "https", Host: r.Host, Path: "/.pomerium/sign_in", RawQuery: url.Values{"back": {back.String()}}.Encode()}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprint(w, page.String())
}

func (s *SignIn) page(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.visited++
	state := fmt.Sprint("state", s.visited)
	s.back[state] = r.FormValue("back")
	idp := s.idp
	s.mu.Unlock()
	if idp == nil {
		s.sendBack(w, r, state, "user@e2e.test")
		return
	}
	http.Redirect(w, r, idp.url(state), http.StatusFound)
}

// signedIn is where an identity provider sends the browser.
func (s *SignIn) signedIn(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	idp := s.idp
	s.mu.Unlock()
	if idp == nil {
		http.NotFound(w, r)
		return
	}
	email, err := idp.whoIs(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	s.sendBack(w, r, r.FormValue("state"), email)
}

// sendBack makes a token for the person and sends the browser to the program with it.
func (s *SignIn) sendBack(w http.ResponseWriter, r *http.Request, state, email string) {
	s.mu.Lock()
	to, known := s.back[state]
	delete(s.back, state)
	token := "e2e.issued." + state
	s.emails[token] = email
	s.mu.Unlock()
	back, err := url.Parse(to)
	if err != nil || !known {
		http.Error(w, "unknown state", http.StatusBadRequest)
		return
	}
	s.authz.Issue(token)
	query := back.Query()
	query.Set("pomerium_jwt", token)
	back.RawQuery = query.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

func (s *SignIn) user(w http.ResponseWriter, r *http.Request) {
	token := credential(r.Header.Get("X-Pomerium-Authorization"), r.Header.Get("Authorization"))
	if !s.authz.Valid(token) {
		http.Error(w, `{"error":"Unauthenticated"}`, http.StatusUnauthorized)
		return
	}
	s.mu.Lock()
	email := s.emails[token]
	s.mu.Unlock()
	if email == "" {
		email = "user@e2e.test"
	}
	json.NewEncoder(w).Encode(map[string]string{"email": email})
}
