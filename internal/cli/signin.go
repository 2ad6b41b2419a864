package cli

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/spf13/pflag"

	"github.com/pomerium/pomerium-cli/internal/keyring"
	"github.com/pomerium/pomerium-cli/internal/login"
	"github.com/pomerium/pomerium-cli/internal/token"
	"github.com/pomerium/pomerium-cli/proxy"
	"github.com/pomerium/pomerium-cli/tunnel"
)

// signInFlags say how a person signs in, and where the token is kept.
type signInFlags struct {
	browserCmd string
	noBrowser  bool
	tokenStore string
}

// The values of --token-store.
const (
	storeFile    = "file"
	storeKeyring = "keyring"
	storeMemory  = "memory"
)

// unlockLimit bounds how long a person may take to unlock the keyring.
const unlockLimit = 2 * time.Minute

// storeError says that the place of --token-store cannot be used.
type storeError struct{ err error }

func (e *storeError) Error() string { return "keeping tokens in the keyring: " + e.err.Error() }

func (e *storeError) Unwrap() error { return e.err }

func (f *signInFlags) add(s *pflag.FlagSet) {
	s.StringVar(&f.browserCmd, "browser-cmd", "", "`command` that opens the sign-in page, with arguments as in a shell; the page's URL is\nadded as the last (default: the system's browser)")
	s.BoolVar(&f.noBrowser, "no-browser", false, "open no browser: the URL is printed, to be opened anywhere, and on a terminal the address\nat which that browser ends can be pasted")
	s.StringVar(&f.tokenStore, "token-store", storeFile, "`place` where tokens are kept: file (where the existing pomerium-cli has them),\nkeyring (files that only the system's keyring opens), memory (for this run alone)")
}

// check refuses what cannot be meant, and returns the words of --browser-cmd.
func (f *signInFlags) check() (browser []string, err error) {
	switch f.tokenStore {
	case storeFile, storeKeyring, storeMemory:
	default:
		return nil, usagef("--token-store %q: not file, keyring or memory", f.tokenStore)
	}
	return browserWords(f.browserCmd)
}

func browserWords(command string) ([]string, error) {
	words, err := login.Words(command)
	if err != nil {
		return nil, usagef("--browser-cmd: %w", err)
	}
	return words, nil
}

// tokens says who is asking: a service account, or a person with a browser.
func (w *parts) tokens(server *url.URL, way *proxy.Transport) tunnel.Tokens {
	if w.plan.account != nil {
		return w.plan.account
	}
	s := &login.SignIn{
		Edge:    server,
		HTTP:    way,
		Store:   w.tokenStore(),
		Key:     token.Key(server),
		Notify:  w.notify,
		Browser: w.opener(),
		Waiting: w.ui.Waiting,
		Log:     w.ui.log,
	}
	if s.Notify == nil {
		s.Notify = w.ui.SignIn
	}
	if w.logins != nil {
		s.Paste = w.paste
	}
	if w.turns != nil { // a nil in the interface would not be one
		s.Turns = w.turns
	}
	w.signIns = append(w.signIns, s)
	return s
}

// opener opens a browser; nil: none is to be opened.
func (w *parts) opener() func(ctx context.Context, url string) error {
	switch {
	case w.browser != nil:
		return w.browser
	case w.plan.noBrowser:
		return nil
	}
	return login.Opener(w.plan.browser)
}

// errNobody says that no person can be asked.
var errNobody = errors.New("nobody sits at a terminal here")

// paste asks the person at the terminal for what a browser elsewhere ended on.
// It is never standard input that is read: that may be the tunnel.
func (w *parts) paste(ctx context.Context, complaint string) (string, error) {
	if !w.logins.person() {
		return "", errNobody
	}
	return w.logins.terminal.AskHidden(ctx, func() error {
		if complaint != "" {
			w.ui.Notice(complaint)
		}
		w.ui.Notice("that address can be opened on any machine; paste here where its browser ends, http://127.0.0.1:..., and press Enter (it is not shown)")
		return nil
	})
}

// openStore makes sure that tokens can be kept where they were asked to be: to
// keep them elsewhere without a word would be worse than an error.
func (w *parts) openStore(ctx context.Context) error {
	sealed, ok := w.tokenStore().(*token.Sealed)
	if !ok || w.plan.account != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, unlockLimit)
	defer cancel()
	if err := sealed.Open(ctx); err != nil {
		return &storeError{err}
	}
	return nil
}

// tokenStore is where tokens are kept: one place for all edges.
func (w *parts) tokenStore() login.Store {
	if w.store != nil {
		return w.store
	}
	w.store = new(token.Memory)
	if w.plan.tokenStore == storeMemory {
		return w.store
	}
	dir, err := token.DefaultDir()
	if err != nil {
		w.ui.log.Warn("tokens are kept in memory only", "err", err)
		return w.store
	}
	w.turns = &token.Turns{Dir: dir, Command: w.plan.command, Started: w.started, Log: w.ui.log}
	w.store = token.File{Dir: dir}
	if w.plan.tokenStore == storeKeyring {
		w.store = &token.Sealed{Dir: dir, Ring: w.ring()}
	}
	return w.store
}

// ring is the keyring, which may ask a person to unlock it if there is one.
func (w *parts) ring() token.Ring {
	if w.logins == nil {
		return keyring.Store{}
	}
	return w.logins.keyring(w.logins.person())
}
