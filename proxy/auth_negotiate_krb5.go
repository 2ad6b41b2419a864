//go:build !windows && !darwin

package proxy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jcmturner/gokrb5/v8/client"
	"github.com/jcmturner/gokrb5/v8/credentials"
	"github.com/jcmturner/gokrb5/v8/iana/chksumtype"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// hasLogonSession: nobody but a ticket cache knows who the user is.
const hasLogonSession = false

func logonSession(context.Context, string, Peer) (session, error) {
	return nil, errors.New("NTLM: there is no user and password")
}

// ticketReuse is how long a ticket for the proxy is kept in memory.
const ticketReuse = 5 * time.Minute

// A ticket is one for the proxy's service.
type ticket struct {
	realm  string
	client types.PrincipalName
	ticket messages.Ticket
	key    types.EncryptionKey
	end    time.Time // of the ticket that it was got with; zero: not known
}

// tickets keeps the last ticket, and has one question to the KDC under way at a
// time.
type tickets struct {
	mu      sync.Mutex
	kept    *ticket
	spn     string     // that kept is for
	from    cacheState // when kept came out of it
	until   time.Time
	pending *question
}

// A question to the KDC goes on when nobody waits for the answer any more: gokrb5
// cannot be stopped.
type question struct {
	wish   wish
	done   chan struct{}
	ticket *ticket
	err    error
}

// A wish is for a ticket.
type wish struct {
	spn   string
	alias bool // the host in spn may be an alias
	fresh bool // the one that is kept, and the one that the user's cache may have, were refused
}

func (t *tickets) get(ctx context.Context, w wish) (*ticket, error) {
	ctx, cancel := withKDCLimit(ctx)
	defer cancel()
	now := readCacheState()
	for {
		kept, q := t.ask(w, now)
		if kept != nil {
			return kept, nil
		}
		select {
		case <-q.done:
			if q.wish == w {
				return q.ticket, q.err
			}
		case <-ctx.Done():
			return nil, errors.New("the KDC does not answer")
		}
	}
}

// ask returns the kept ticket, or else the question that is under way, which may
// be another.
func (t *tickets) ask(w wish, now cacheState) (*ticket, *question) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !w.fresh && t.kept != nil && t.spn == w.spn && t.from == now && time.Now().Before(t.until) {
		return t.kept, nil
	}
	if t.pending == nil {
		q := &question{wish: w, done: make(chan struct{})}
		t.pending = q
		go func() { // ends by itself: gokrb5 gives each KDC a few seconds
			defer close(q.done)
			q.ticket, q.err = serviceTicket(w)
			t.keep(q, now)
		}()
	}
	return nil, t.pending
}

// keep takes the answer to a question.
func (t *tickets) keep(q *question, from cacheState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending = nil
	if q.err != nil {
		return
	}
	t.kept, t.spn, t.from, t.until = q.ticket, q.wish.spn, from, time.Now().Add(ticketReuse)
	if end := q.ticket.end; !end.IsZero() && end.Before(t.until) {
		t.until = end
	}
}

// serviceTicket asks the KDC for a ticket, with the user's or the keytab's.
func serviceTicket(w wish) (t *ticket, err error) {
	defer func() {
		if recover() != nil { // gokrb5 trusts the length fields of files
			t, err = nil, fmt.Errorf("%w: the ticket cache or the keytab is damaged", ErrNoTicket)
		}
	}()
	conf, err := loadKrb5Conf()
	if err != nil {
		return nil, err
	}
	c, end, err := krb5Client(conf, w.fresh)
	if err != nil {
		return nil, err
	}
	defer c.Destroy()
	t = &ticket{realm: c.Credentials.Domain(), client: c.Credentials.CName(), end: end}
	t.ticket, t.key, err = c.GetServiceTicket(w.spn)
	if err = explainKDC(err); w.alias && errors.Is(err, ErrNoService) {
		if other := conf.canonical(w.spn); other != w.spn {
			t.ticket, t.key, err = c.GetServiceTicket(other)
			err = explainKDC(err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("no ticket for %s: %w", w.spn, err)
	}
	return t, nil
}

// krb5Client is the user of the ticket cache, whose ticket ends then, or else of
// the keytab.
func krb5Client(conf *krb5Conf, fresh bool) (c *client.Client, end time.Time, err error) {
	path, err := conf.cacheFile()
	if err == nil {
		var cache *credentials.CCache
		if cache, err = loadCache(path); err == nil {
			if fresh { // keep the ticket that gets tickets
				cache.Credentials = []*credentials.Credential{tgt(cache)}
			}
			c, err = client.NewFromCCache(cache, conf.Config, client.DisablePAFXFAST(true))
			return c, tgt(cache).EndTime, err
		}
	}
	name := keytabFile()
	if name == "" {
		return nil, end, err
	}
	kt, err := keytab.Load(name)
	if err != nil || len(kt.Entries) == 0 {
		return nil, end, fmt.Errorf("%w: the keytab %s (KRB5_CLIENT_KTNAME) cannot be read", ErrNoTicket, name)
	}
	p := kt.Entries[0].Principal
	c = client.NewWithKeytab(joinName(p.Components), p.Realm, kt, conf.Config, client.DisablePAFXFAST(true))
	if err := c.Login(); err != nil {
		return nil, end, fmt.Errorf("%w with the keytab %s: %w", ErrNoTicket, name, explainKDC(err))
	}
	return c, end, nil
}

// session implements Negotiate with Kerberos 5.
func (n *Negotiate) session(ctx context.Context, spn string, peer Peer) (session, error) {
	w := wish{spn: spn, alias: n.SPN == ""}
	t, err := n.kept.get(ctx, w)
	if err != nil {
		return nil, err
	}
	return &kerberos{from: &n.kept, wish: w, ticket: t, binding: bindingHash(tlsBinding(peer.Certificate))}, nil
}

// kerberos is a session that shows a ticket once. If that is refused, it shows a
// fresh one: the other may be older than the proxy's key.
type kerberos struct {
	from    *tickets
	wish    wish
	ticket  *ticket
	binding [16]byte
	shown   int
}

func (k *kerberos) step(ctx context.Context, in []byte) ([]byte, error) {
	k.shown++
	switch {
	case k.shown > 2, k.shown == 2 && len(in) > 0:
		return nil, fmt.Errorf("%w for %s", ErrTicketRefused, k.wish.spn)
	case k.shown == 2:
		k.wish.fresh = true
		t, err := k.from.get(ctx, k.wish)
		if err != nil {
			return nil, fmt.Errorf("%w for %s, and there is no fresh one: %w", ErrTicketRefused, k.wish.spn, err)
		}
		k.ticket = t
	}
	return k.ticket.token(k.binding)
}

func (k *kerberos) close() {}

// token is the ticket with a proof of its possession, in SPNEGO (RFC 4121 4.1).
func (t *ticket) token(binding [16]byte) ([]byte, error) {
	auth, err := types.NewAuthenticator(t.realm, t.client)
	if err != nil {
		return nil, err
	}
	sum := make([]byte, 24) // length of the binding, binding, no flags
	sum[0] = byte(len(binding))
	copy(sum[4:], binding[:])
	auth.Cksum = types.Checksum{CksumType: chksumtype.GSSAPI, Checksum: sum}
	request, err := messages.NewAPReq(t.ticket, t.key, auth)
	if err != nil {
		return nil, err
	}
	der, err := request.Marshal()
	if err != nil {
		return nil, err
	}
	token, err := gssToken(oidKerberos, append([]byte{1, 0}, der...)) // TOK_ID of KRB_AP_REQ
	if err != nil {
		return nil, err
	}
	return spnegoInit(oidKerberos, token)
}
