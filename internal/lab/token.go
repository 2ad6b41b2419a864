package lab

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// state is what a token is worth.
type state int

const (
	none   state = iota // the request offered none
	stale               // offered, but no session belongs to it
	denied              // a session that the policy refuses
	good
)

// sessions signs tokens as the server does (a JWS without exp; PROTOCOL.md 4.4) and knows which
// of them have a session.
type sessions struct {
	key []byte
	mu  sync.Mutex
	all map[string]state // by jti
}

func newSessions() *sessions {
	return &sessions{key: []byte(rand.Text()), all: make(map[string]state)}
}

// issue returns a new token whose session is in the given state.
func (s *sessions) issue(st state, issuer string) string {
	jti := rand.Text()
	if st != stale {
		s.mu.Lock()
		s.all[jti] = st
		s.mu.Unlock()
	}
	claims, _ := json.Marshal(map[string]any{ // strings and numbers only: cannot fail
		"jti": jti, "sub": "demo", "idp_id": "lab", "iat": time.Now().Unix(), "iss": issuer,
		"aud": []string{issuer, "127.0.0.1"}, "databroker_server_version": 1, "databroker_record_version": 1,
	})
	b64 := base64.RawURLEncoding
	text := b64.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + b64.EncodeToString(claims)
	return text + "." + b64.EncodeToString(s.mac(text))
}

func (s *sessions) mac(text string) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// jti returns the session that a genuine token names, "" for any other text.
func (s *sessions) jti(token string) string {
	i := strings.LastIndexByte(token, '.')
	if i < 0 {
		return ""
	}
	mac, err := base64.RawURLEncoding.DecodeString(token[i+1:])
	if err != nil || !hmac.Equal(mac, s.mac(token[:i])) {
		return ""
	}
	_, payload, _ := strings.Cut(token[:i], ".")
	data, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return ""
	}
	var claims struct{ JTI string }
	if json.Unmarshal(data, &claims) != nil {
		return ""
	}
	return claims.JTI
}

func (s *sessions) state(token string) state {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st, ok := s.all[s.jti(token)]; ok {
		return st
	}
	return stale
}

// Token returns a new token that opens every route.
func (l *Lab) Token() string { return l.sessions.issue(good, "edge.lab") }

// StaleToken returns a genuine token whose session has ended.
func (l *Lab) StaleToken() string { return l.sessions.issue(stale, "edge.lab") }

// DeniedToken returns a token of somebody whom the policy lets nowhere.
func (l *Lab) DeniedToken() string { return l.sessions.issue(denied, "edge.lab") }

// Revoke ends the session of a token: from now on it is stale.
func (l *Lab) Revoke(token string) {
	l.sessions.mu.Lock()
	defer l.sessions.mu.Unlock()
	delete(l.sessions.all, l.sessions.jti(token))
}

// credential finds the token of a request in the server's order (PROTOCOL.md 1.4), and reports
// whether it came in a header or the query: who sends one there is not a browser.
func credential(h http.Header, query url.Values) (token string, offered bool) {
	headers := func() string {
		if t := h.Get("X-Pomerium-Authorization"); t != "" {
			return t
		}
		// Scheme and prefix are compared as they are, in their case and with one space.
		auth := h.Get("Authorization")
		if t, ok := strings.CutPrefix(auth, "Pomerium "); ok {
			return t
		}
		if t, ok := strings.CutPrefix(auth, "Bearer Pomerium-"); ok {
			return t
		}
		return query.Get("pomerium_session")
	}
	token = headers()
	offered = token != ""
	// A cookie wins over every header, even a bad one.
	if c, err := (&http.Request{Header: h}).Cookie("_pomerium"); err == nil {
		token = c.Value
	}
	return token, offered
}
