package tunnel

import (
	"context"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/pomerium/pomerium-cli/internal/h2connect"
)

const (
	// idleTimeout is how long a connection without tunnels is kept: less than
	// the five minutes after which the edge closes it.
	idleTimeout = 3 * time.Minute
	// spareFlush bounds how long a warm HTTP/1.1 connection holds the end of its
	// handshake back, so that it leaves with a request. Alone, the edge does not
	// answer it, and a proxy that leaves Nagle's algorithm on would hold a request
	// that follows within the edge's delayed acknowledgement, for 40 ms.
	spareFlush = 2 * time.Second
	// soloDials is how many handshakes for connections of one's own may be under
	// way. In a burst, the tunnels beyond share one more instead of waiting for
	// a handshake each.
	soloDials = 2
	// tries bounds how often a CONNECT that the edge has not acted on goes out
	// again.
	tries = 5
	// queueLimit bounds what waits for slow local programs, in bytes.
	queueLimit = 256 << 20
	// lossPause gathers the tunnels of connections that are lost together, as
	// when the edge restarts, so that one line tells of all.
	lossPause = 200 * time.Millisecond
)

// stream is what the pool hands out.
type stream interface {
	Stream
	protocol() string
}

// A pool holds the connections to one edge and chooses one for each tunnel.
type pool struct {
	c     *Client
	l     *linker
	limit h2connect.Limit
	max   int

	ctx    context.Context // ends with the pool: bounds dials that no tunnel waits for
	cancel context.CancelFunc
	wg     sync.WaitGroup // those dials

	mu      sync.Mutex
	h1      bool                            // the edge speaks HTTP/1.1
	only11  bool                            // it offers h2 and does not carry CONNECT on it
	carries bool                            // a tunnel was opened on h2: it does carry CONNECT there
	links   []*link                         // HTTP/1.1: warm spares
	used    map[*link]struct{}              // HTTP/1.1: links that are asked on, or tunnels
	solo    map[*h2connect.Conn]bool        // true: in use
	shared  []*h2connect.Conn               //
	idle    map[*h2connect.Conn]*time.Timer // closes a connection without tunnels
	dialing int                             // solo connections under way
	warming bool                            // a spare is under way
	sharing *flight                         // a shared connection under way
	alone   map[string]bool                 // destinations that do not share again
	streams uint32                          // the edge's stream limit, once it has mattered
	lost    int                             // tunnels lost since the last line
	closed  bool
}

// A flight is a dial that several tunnels wait for.
type flight struct {
	done chan struct{}
	err  error
}

func newPool(c *Client) *pool {
	p := &pool{
		c:     c,
		l:     newLinker(c),
		limit: h2connect.Limit{Max: queueLimit},
		max:   c.MaxConnections,
		used:  map[*link]struct{}{},
		solo:  map[*h2connect.Conn]bool{},
		idle:  map[*h2connect.Conn]*time.Timer{},
		alone: map[string]bool{},
	}
	if p.max <= 0 {
		p.max = defaultMaxConnections
	}
	p.h1 = c.Protocol == "h1" || c.Edge.Scheme == "http" && c.Protocol != "h2"
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// connect sends CONNECT on a connection that takes it, and returns the stream or
// the refusal. What the edge has not acted on is sent again elsewhere.
func (p *pool) connect(ctx context.Context, destination string, h http.Header) (stream, *h2connect.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for n := 1; ; n++ {
		got, err := p.acquire(ctx, destination)
		if err != nil {
			return nil, nil, err
		}
		limit := time.AfterFunc(answerTimeout, func() { cancel(ErrNoAnswer) })
		s, resp, err := p.ask(ctx, got, destination, h)
		limit.Stop()
		if err == nil {
			if s == nil {
				return nil, resp, nil
			}
			p.warm()
			return s, nil, nil
		}
		if h2connect.Full(err) && got.conn.MaxStreams() > 0 { // others were quicker on that connection; nothing went out
			n--
			continue
		}
		if n < tries && ctx.Err() == nil && p.again(got, err) {
			continue
		}
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, nil, &Error{Edge: p.l.name, Destination: destination, Op: "connect", Err: err}
	}
}

// A slot is where one CONNECT goes: a link over HTTP/1.1, or a connection.
type slot struct {
	link  *link
	conn  *h2connect.Conn
	stale bool // it was idle, so that it may be dead already
}

func (p *pool) ask(ctx context.Context, to slot, destination string, h http.Header) (stream, *h2connect.Response, error) {
	if to.link != nil {
		s, resp, err := connectH1(ctx, to.link, destination, h)
		if s == nil {
			p.forget(to.link)
			return nil, resp, err
		}
		s.closed = func() { p.forget(to.link) }
		return s, resp, nil
	}
	s, resp, err := to.conn.Open(ctx, destination, h)
	if s == nil {
		return nil, resp, err
	}
	p.carried()
	return &h2Stream{s, func() { p.keepAlone(destination) }}, resp, nil
}

// use notes that a link is in use, so that close finds it; p.mu is held.
func (p *pool) use(l *link, stale bool) (slot, error) {
	if p.closed {
		l.close()
		return slot{}, net.ErrClosed
	}
	p.used[l] = struct{}{}
	return slot{link: l, stale: stale}, nil
}

func (p *pool) forget(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.used, l)
}

// again decides whether a CONNECT that failed with err may go out once more: if
// the edge did not act on it, or the connection had been idle and was dead.
func (p *pool) again(to slot, err error) bool {
	switch {
	case to.link != nil:
		return to.stale
	case p.c.Protocol != "h2" && p.fallBack(err):
		return true
	}
	if h2connect.Unprocessed(err) {
		p.mu.Lock()
		p.streams = to.conn.MaxStreams() // the next connection need not run into it
		p.mu.Unlock()
		return true
	}
	return to.stale && h2connect.Lost(err)
}

// acquire chooses the connection for a tunnel: a spare of its own, else one to
// share, and where there is neither, the first of a new one.
func (p *pool) acquire(ctx context.Context, destination string) (slot, error) {
	for {
		p.mu.Lock()
		switch {
		case p.closed:
			p.mu.Unlock()
			return slot{}, net.ErrClosed
		case p.h1:
			return p.takeLink(ctx) // unlocks
		}
		if c := p.spare(); c != nil {
			p.mu.Unlock()
			return slot{conn: c, stale: true}, nil
		}
		alone := p.alone[destination]
		if c := p.roomiest(); c != nil && !alone { // no handshake while there is room; warm dials a spare meanwhile
			p.stopIdle(c)
			p.mu.Unlock()
			return slot{conn: c, stale: c.Streams() == 0}, nil
		}
		if alone || len(p.solo)+p.dialing < p.max && p.dialing < soloDials {
			return p.dialSolo(ctx) // unlocks
		}
		got, err := p.dialShared(ctx) // unlocks
		if got != nil || err != nil {
			return deref(got), err
		}
	}
}

func deref(s *slot) slot {
	if s == nil {
		return slot{}
	}
	return *s
}

// takeLink returns a warm HTTP/1.1 connection, or dials one; p.mu is held.
func (p *pool) takeLink(ctx context.Context) (slot, error) {
	if n := len(p.links); n > 0 {
		defer p.mu.Unlock()
		l := p.links[n-1]
		p.links = p.links[:n-1]
		return p.use(l, true)
	}
	p.mu.Unlock()
	l, err := p.dial(ctx)
	if err != nil {
		return slot{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.settle(l)
}

// settle makes of a fresh link what a tunnel of its own needs, whatever the edge
// has picked this time; p.mu is held.
func (p *pool) settle(l *link) (slot, error) {
	p.h1 = !l.h2 || p.only11
	if !l.h2 {
		return p.use(l, false)
	}
	if p.closed {
		l.close()
		return slot{}, net.ErrClosed
	}
	c := p.start(l, false)
	p.solo[c] = true
	return slot{conn: c}, nil
}

// spare takes an idle connection, the one used last; p.mu is held.
func (p *pool) spare() *h2connect.Conn {
	for c, busy := range p.solo {
		if !busy && c.Room() {
			p.solo[c] = true
			p.stopIdle(c)
			return c
		}
	}
	return nil
}

// roomiest returns the shared connection with the fewest tunnels; p.mu is held.
func (p *pool) roomiest() *h2connect.Conn {
	var best *h2connect.Conn
	for _, c := range p.shared {
		if c.Room() && (best == nil || c.Streams() < best.Streams()) {
			best = c
		}
	}
	return best
}

// dialSolo dials a connection for one tunnel; p.mu is held.
func (p *pool) dialSolo(ctx context.Context) (slot, error) {
	p.dialing++
	p.mu.Unlock()
	l, err := p.dial(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialing--
	if err != nil {
		return slot{}, err
	}
	return p.settle(l)
}

// dialShared dials a connection for many, or waits for one that is under way;
// p.mu is held. A nil slot without an error means: look again.
func (p *pool) dialShared(ctx context.Context) (*slot, error) {
	if f := p.sharing; f != nil {
		p.mu.Unlock()
		select {
		case <-f.done:
			return nil, f.err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	f := &flight{done: make(chan struct{})}
	p.sharing = f
	p.mu.Unlock()
	l, err := p.dial(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sharing = nil
	defer close(f.done)
	switch {
	case err != nil:
		if ctx.Err() == nil {
			f.err = err // otherwise whoever waits tries for himself
		}
		return nil, err
	case p.closed:
		l.close()
		return nil, net.ErrClosed
	case !l.h2:
		got, err := p.settle(l)
		return &got, err
	}
	c := p.start(l, true)
	p.shared = append(p.shared, c)
	return &slot{conn: c}, nil
}

func (p *pool) dial(ctx context.Context) (*link, error) {
	cfg := p.l.tls
	p.mu.Lock()
	if p.only11 {
		cfg = only11(cfg)
	}
	p.mu.Unlock()
	return p.l.link(ctx, cfg)
}

// start speaks HTTP/2 on a link; p.mu is held.
func (p *pool) start(l *link, shared bool) *h2connect.Conn {
	return h2connect.New(l.top, l.under, h2connect.Config{
		Shared:     shared,
		KeepAlive:  p.c.KeepAlive,
		MaxStreams: p.streams,
		Limit:      &p.limit,
		OnIdle:     p.onIdle,
		OnClose:    p.onClose,
		Log:        p.c.Log,
	})
}

// close resets all tunnels and waits for every goroutine of the pool.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	conns := slices.Clone(p.shared)
	for c := range p.solo {
		conns = append(conns, c)
	}
	for _, t := range p.idle {
		t.Stop()
	}
	links := slices.AppendSeq(p.links, maps.Keys(p.used))
	p.links = nil
	p.mu.Unlock()
	p.cancel()
	for _, l := range links {
		l.close()
	}
	for _, c := range conns {
		c.Close()
	}
	p.wg.Wait()
}
