package login

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// ServiceAccount hands out the token of a service account. It never opens a
// browser. It is safe for concurrent use.
type ServiceAccount struct {
	Token string // the token; blanks around it are dropped
	File  string // the file that holds it, where Token is empty

	mu   sync.Mutex
	read string // what the file held
}

// Current returns the token. An empty token, or a file that cannot be read or
// holds something else than one token, is an *Error that names the file.
func (a *ServiceAccount) Current(context.Context) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.read != "" {
		return a.read, nil
	}
	return a.load()
}

// Renew returns the token that the file holds by now, if that is another than
// the refused one: service accounts are rotated by rewriting their file.
// Otherwise it is an *Error around ErrRefused.
func (a *ServiceAccount) Renew(_ context.Context, rejected string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	token, err := a.load()
	if err != nil {
		return "", err
	}
	if token == rejected {
		return "", a.error(refusal(token))
	}
	return token, nil
}

// load reads the token. a.mu is held.
func (a *ServiceAccount) load() (string, error) {
	token := a.Token
	if token == "" && a.File != "" {
		b, err := os.ReadFile(a.File)
		if err != nil {
			return "", &Error{Op: "service account", Err: err, Account: true} // err names the file
		}
		token = string(b)
	}
	token = strings.TrimSpace(token)
	switch {
	case token == "":
		return "", a.error(errors.New("the token is empty"))
	case !validToken(token):
		return "", a.error(errors.New("it is not a token: one word without blanks is expected"))
	}
	a.read = token
	return token, nil
}

func (a *ServiceAccount) error(err error) error {
	op := "service account"
	if a.Token == "" && a.File != "" {
		op += " in " + a.File
	}
	return &Error{Op: op, Err: err, Account: true}
}

// refusal says more where the token itself tells why it was refused. The
// expiry is a hint and no more: the edge has spoken already.
func refusal(token string) error {
	if exp := Expiry(token); !exp.IsZero() && exp.Before(time.Now()) {
		return fmt.Errorf("%w: it expired on %s", ErrRefused, exp.UTC().Format(time.DateOnly))
	}
	return ErrRefused
}

// Expiry returns the time that a JSON Web Token says it ends at (RFC 7519
// section 4.1.4), or zero. It counts for service accounts alone: the token of a
// session may name a time long past, and the edge takes it.
func Expiry(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}
	}
	var claims struct {
		Exp float64 `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil || claims.Exp <= 0 || claims.Exp > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(claims.Exp), 0)
}
