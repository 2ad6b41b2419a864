package cli

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/pomerium/pomerium-cli/internal/keyring"
	"github.com/pomerium/pomerium-cli/proxy"
)

// Keyring keeps secrets by a key; Load returns "" for none.
type Keyring interface {
	Load(ctx context.Context, key string) (string, error)
	Save(ctx context.Context, key, secret string) error
}

const (
	maxRefusals = 2 // passwords that one proxy may refuse in one run: more may lock the account
	// savingEnds is how long the end of the program waits for the keyring.
	savingEnds = 3 * time.Second
)

var (
	errKeptRefused = errors.New("they are those that the keyring has for this proxy")
	errNothing     = errors.New("nothing was entered")
)

// logins are users and passwords of proxies that ask and have none in any
// setting: what the keyring has, then what a person types.
type logins struct {
	keyring  func(patient bool) Keyring
	terminal *terminal
	save     bool
	ui       *ui

	typing sync.Mutex // one proxy asks at a time
	mu     sync.Mutex
	hops   map[string]*hopLogin
	saving sync.WaitGroup
	life   context.Context // of what is being saved
	end    context.CancelFunc
}

// hopLogin is what happened with one proxy; logins.mu guards it.
type hopLogin struct {
	kept, typed *url.Userinfo
	locked      bool // the keyring is, and may have them
	refusals    int
}

func newLogins(p *program, save bool) *logins {
	l := &logins{
		keyring:  p.Keyring,
		terminal: &terminal{open: p.Terminal},
		save:     save,
		ui:       p.ui(),
		hops:     make(map[string]*hopLogin),
	}
	if l.keyring == nil {
		l.keyring = func(patient bool) Keyring { return keyring.Store{Patient: patient} }
	}
	l.life, l.end = context.WithCancel(context.Background())
	return l
}

// Close waits for the keyring, if it is just being written to.
func (l *logins) Close() {
	limit := time.AfterFunc(savingEnds, l.end)
	l.saving.Wait()
	limit.Stop()
	l.end()
	l.terminal.Close()
}

// note lets do see and change what happened with a proxy.
func (l *logins) note(hop string, do func(*hopLogin)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hops[hop] == nil {
		l.hops[hop] = &hopLogin{}
	}
	do(l.hops[hop])
}

// person says whether there is one to ask: who reads our messages, and has a
// terminal.
func (l *logins) person() bool { return l.ui.out.screen && l.terminal.reach() == nil }

// Kept implements proxy.Logins.
func (l *logins) Kept(ctx context.Context, w proxy.Want) (*url.Userinfo, error) {
	user, err := l.load(ctx, w, false)
	locked := errors.Is(err, keyring.ErrLocked)
	l.note(w.Hop, func(h *hopLogin) { h.kept, h.locked = user, locked })
	if err == nil || locked && l.person() { // Ask has it unlocked
		return user, nil
	}
	l.ui.log.Debug("no help from the keyring", "hop", w.Hop, "err", err)
	if errors.Is(err, keyring.ErrNone) {
		return nil, nil
	}
	return nil, err
}

// load asks the keyring. Entries have the form of the credentials file.
func (l *logins) load(ctx context.Context, w proxy.Want, patient bool) (*url.Userinfo, error) {
	secret, err := l.keyring(patient).Load(ctx, w.Hop)
	if err != nil || secret == "" {
		return nil, err
	}
	user, err := parseLogin([]byte(secret))
	if err != nil {
		return nil, &keyring.Error{Op: "reading the keyring", Err: err}
	}
	if w.User != "" && user.Username() != w.User {
		return nil, nil
	}
	return user, nil
}

// Ask implements proxy.Logins.
func (l *logins) Ask(ctx context.Context, w proxy.Want) (*url.Userinfo, error) {
	var before hopLogin
	l.note(w.Hop, func(h *hopLogin) {
		if w.Refused != nil {
			h.refusals++
		}
		before = *h
		h.locked = false
	})
	said := ""
	switch keptRefused := w.Refused != nil && w.Refused == before.kept; {
	case keptRefused && !l.person():
		return nil, errKeptRefused
	case before.refusals >= maxRefusals, !l.person():
		return nil, nil
	case keptRefused:
		said = "it refused what the keyring has for it"
	case w.Refused != nil:
		said = "it refused that; this is the last try"
	}
	l.typing.Lock()
	defer l.typing.Unlock()
	if before.locked {
		if user, err := l.unlock(ctx, w); user != nil || ctx.Err() != nil {
			l.note(w.Hop, func(h *hopLogin) { h.kept = user })
			return user, err
		}
	}
	user, err := l.prompt(ctx, w, said)
	l.note(w.Hop, func(h *hopLogin) { h.typed = user })
	return user, err
}

// unlock has the system ask the person to unlock the keyring.
func (l *logins) unlock(ctx context.Context, w proxy.Want) (*url.Userinfo, error) {
	l.ui.Notice("the keyring is locked and may have the password for " + w.Hop + ": unlock it in the window that asks, or cancel there to type it here")
	defer l.ui.Waiting("waiting for the keyring")()
	return l.load(ctx, w, true)
}

// prompt asks the person at the terminal.
func (l *logins) prompt(ctx context.Context, w proxy.Want, said string) (*url.Userinfo, error) {
	defer l.ui.Hold()()
	who := "forward proxy " + w.Hop + " asks who you are (" + w.Scheme
	if w.Realm != "" {
		who += ", " + w.Realm
	}
	lines := []string{who + ")"}
	if said != "" {
		lines = append(lines, said)
	}
	if w.Clear && w.Refused == nil { // once is enough
		lines = append(lines, "the password will travel in clear: whoever is on the way to the proxy can read it")
	}
	if err := l.terminal.Say(lines...); err != nil {
		return nil, err
	}
	name := w.User
	if name == "" {
		var err error
		if name, err = l.terminal.Ask(ctx, "user: ", false); err != nil {
			return nil, err
		}
	}
	if name = strings.TrimSpace(name); name == "" {
		return nil, errNothing
	}
	password, err := l.terminal.Ask(ctx, "password for "+oneLine(name)+": ", true)
	switch {
	case err != nil:
		return nil, err
	case password == "":
		return nil, errNothing
	}
	return url.UserPassword(name, password), nil
}

// Accepted implements proxy.Logins: what was typed is kept now that it is known
// to be right.
func (l *logins) Accepted(w proxy.Want, user *url.Userinfo) {
	var h hopLogin
	l.note(w.Hop, func(now *hopLogin) { h = *now })
	switch {
	case user != h.typed:
	case l.save:
		l.saving.Go(func() { l.keep(w.Hop, user) }) // joined by Close
	case h.kept != nil:
		l.ui.Notice("the keyring still has what " + w.Hop + " refused: --save would have replaced it")
	}
}

func (l *logins) keep(hop string, user *url.Userinfo) {
	password, _ := user.Password()
	err := errColon
	if !strings.Contains(user.Username(), ":") {
		err = l.keyring(true).Save(l.life, hop, user.Username()+":"+password)
	}
	if err != nil {
		l.ui.Notice("the password for " + hop + " is not kept: " + oneLine(err.Error()))
		return
	}
	l.ui.Notice("the keyring has the password for " + hop + " now")
}

var errColon = errors.New("the user name has a colon")
