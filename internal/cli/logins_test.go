package cli_test

import (
	"context"
	"maps"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/cli"
	"github.com/pomerium/pomerium-cli/internal/keyring"
)

// keyrings is the keyring of a test. The zero value is a system without one.
type keyrings struct {
	there     bool
	locked    bool
	dismissed bool // the person does not unlock it

	mu    *sync.Mutex
	has   map[string]string
	looks *int
}

func newKeyring(has map[string]string) keyrings {
	k := keyrings{there: true, mu: new(sync.Mutex), has: map[string]string{}, looks: new(int)}
	maps.Copy(k.has, has)
	return k
}

func (k keyrings) open(patient bool) cli.Keyring { return openKeyring{k, patient} }

type openKeyring struct {
	keyrings
	patient bool
}

func (k openKeyring) check() error {
	switch {
	case !k.there:
		return keyring.ErrNone
	case k.locked && !k.patient:
		return keyring.ErrLocked
	case k.locked && k.dismissed:
		return keyring.ErrDismissed
	}
	return nil
}

func (k openKeyring) Load(_ context.Context, key string) (string, error) {
	if err := k.check(); err != nil {
		return "", err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	*k.looks++
	return k.has[key], nil
}

func (k openKeyring) Save(_ context.Context, key, secret string) error {
	if err := k.check(); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.has[key] = secret
	return nil
}

// get returns the entry of a key.
func (k keyrings) get(key string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.has[key]
}

// bare is a URL of the lab's without user and password, and with them apart.
func bare(t *testing.T, raw string) (hop, user, password string) {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	password, _ = u.User.Password()
	user = u.User.Username()
	u.User = nil
	return u.String(), user, password
}

// TestKeyring: nobody is there to ask, and the keyring is all there is.
func TestKeyring(t *testing.T) {
	w := newWorld(t)
	for _, kind := range []string{"http+password", "https+password", "socks5+password"} {
		hop, user, password := bare(t, w.ProxyURL(kind))
		good := newKeyring(map[string]string{hop: user + ":" + password})
		locked, dead := good, keyrings{}
		locked.locked = true
		for name, tc := range map[string]struct {
			ring keyrings
			env  map[string]string
			code int
			says string
		}{
			"right":        {good, nil, 0, ""},
			"wrong":        {newKeyring(map[string]string{hop: user + ":" + canary}), nil, 3, "they are those that the keyring has"},
			"of others":    {newKeyring(map[string]string{"http://other.test:1": "u:p"}), nil, 3, "POMERIUM_FORWARD_PROXY_PASSWORD"},
			"broken":       {newKeyring(map[string]string{hop: canary}), nil, 3, "reading the keyring"},
			"another user": {good, map[string]string{"POMERIUM_FORWARD_PROXY_USER": "somebody"}, 3, "POMERIUM_FORWARD_PROXY_PASSWORD"},
			"that user":    {good, map[string]string{"POMERIUM_FORWARD_PROXY_USER": user}, 0, ""},
			"not needed": {newKeyring(nil), map[string]string{"POMERIUM_FORWARD_PROXY_USER": user,
				"POMERIUM_FORWARD_PROXY_PASSWORD": password}, 0, ""},
			"locked": {locked, nil, 3, "the keyring is locked"},
			"none":   {dead, nil, 3, "--forward-proxy-credentials-file"},
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				r := &run{keyring: tc.ring, env: tc.env, stdin: "hello"}
				r.main(t, w.tcp("echo.lab:7", "--forward-proxy", hop, "--forward-proxy-ca-path", w.dir+"/proxy-ca.pem",
					"--listen", "-", "--service-account", w.Token())...)
				if r.code != tc.code || !strings.Contains(r.stderr, tc.says) {
					t.Errorf("exit code %d, want %d with %q: %s", r.code, tc.code, tc.says, r.stderr)
				}
				if tc.code == 0 && r.stdout != "hello" {
					t.Errorf("the answer is %q", r.stdout)
				}
				if name == "not needed" && *tc.ring.looks != 0 {
					t.Error("the keyring was opened without need")
				}
				if sings(r.stderr + r.stdout) {
					t.Errorf("the password is in: %s", r.stderr)
				}
			})
		}
	}
}
