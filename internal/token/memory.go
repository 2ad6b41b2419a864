package token

import (
	"context"
	"sync"
)

// Memory keeps tokens for one run. The zero value is ready; it is safe for
// concurrent use.
type Memory struct {
	mu     sync.Mutex
	tokens map[string]string
}

// Load returns the token kept for key, or "".
func (m *Memory) Load(_ context.Context, key string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tokens[key], nil
}

// Save keeps token for key.
func (m *Memory) Save(_ context.Context, key, token string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tokens == nil {
		m.tokens = make(map[string]string)
	}
	m.tokens[key] = token
	return nil
}

// Delete drops the token of key if it still is the given one.
func (m *Memory) Delete(_ context.Context, key, token string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tokens[key] == token {
		delete(m.tokens, key)
	}
	return nil
}

// Clear drops the tokens of all edges.
func (m *Memory) Clear(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.tokens)
	return nil
}
