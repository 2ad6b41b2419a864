package lab

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
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

// sessions makes tokens that look like the server's (a JWS; PROTOCOL.md 4.4) and knows
// which of them have a session. Their exp means nothing, as that of servers v0.32.0 to v0.32.5, but for
// a service account.
type sessions struct {
	key []byte
	mu  sync.Mutex
	all map[string]state // by token
}

func newSessions() *sessions {
	return &sessions{key: []byte(rand.Text()), all: make(map[string]state)}
}

// issue returns a new token whose session is in the given state.
func (s *sessions) issue(st state, issuer string) string {
	claims, _ := json.Marshal(map[string]any{ // strings and numbers only: cannot fail
		"jti": rand.Text(), "sub": "demo", "idp_id": "lab", "iat": time.Now().Unix(), "iss": issuer, "exp": time.Now().Add(time.Hour).Unix(),
		"aud": []string{issuer, "127.0.0.1"}, "databroker_server_version": 1, "databroker_record_version": 1,
	})
	b64 := base64.RawURLEncoding
	token := b64.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + b64.EncodeToString(claims)
	token += "." + b64.EncodeToString(s.mac(token))
	if st != stale {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all[token] = st
	}
	return token
}

func (s *sessions) mac(text string) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// state returns what a token is worth.
func (s *sessions) state(token string) state {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st, ok := s.all[token]; ok {
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
