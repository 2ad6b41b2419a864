package world

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
)

// SignIn is what an edge serves below /.pomerium/: a login URL for programs, the page behind it, and the check of a token.
type SignIn struct {
	authz *Authz
	http  *http.Server

	mu      sync.Mutex
	visited int
}

// StartSignIn serves on ln until Close. The tokens it gives out are good at authz.
func StartSignIn(ln net.Listener, authz *Authz) *SignIn {
	s := &SignIn{authz: authz}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.pomerium/api/v1/login", s.login)
	mux.HandleFunc("GET /.pomerium/sign_in", s.page)
	mux.HandleFunc("GET /.pomerium/user", s.user)
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
	token := fmt.Sprintf("e2e.issued.%d", s.visited)
	s.mu.Unlock()
	s.authz.Issue(token)
	back, err := url.Parse(r.FormValue("back"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	query := back.Query()
	query.Set("pomerium_jwt", token)
	back.RawQuery = query.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

func (s *SignIn) user(w http.ResponseWriter, r *http.Request) {
	if !s.authz.Valid(credential(r.Header.Get("X-Pomerium-Authorization"), r.Header.Get("Authorization"))) {
		http.Error(w, `{"error":"Unauthenticated"}`, http.StatusUnauthorized)
		return
	}
	fmt.Fprintln(w, `{"email":"user@e2e.test"}`)
}
