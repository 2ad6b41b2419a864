package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/pomerium/pomerium-cli/internal/h2connect"
	"github.com/pomerium/pomerium-cli/internal/sock"
)

// What runs inside the tunnels is a connection to an edge each: few, long-lived,
// and any of them may carry bulk. They share connections to the proxy, of the
// kind that is always read, so that a slow one holds up nobody. Three things keep
// that true, and memory bounded, without losing a byte:
//
//   - A stream's window is given back only for what has been read. What a slow
//     tunnel has under way fills at most its window here; then the proxy stops
//     reading from the edge, and TCP holds the edge back, as if the proxy spoke
//     HTTP/1.1. The window is more than a fast path holds, and more than sockets
//     between proxy and edge do: some proxies drop what a window keeps them from
//     sending when the edge closes just then.
//   - All queues of a proxy together have a limit, as at the edge. The 16
//     connections that are paused for a slow program (tunnel's solo ones, see
//     its MaxConnections) cannot exceed it.
//   - Proxies take uploads from a connection as a whole within a window of their
//     own, as small as 64 KiB in nghttpx, and one upload that is not taken behind
//     the proxy may use all of it up. An edge that speaks HTTP/2 takes what comes,
//     one on HTTP/1.1 as fast as the destination does. So a connection gets few
//     tunnels, and none while it is stalled. (Eight is also what nghttpx opens to
//     one host for a connection; a ninth would wait for one of them to end.)
const (
	streamWindow = 16 << 20  // bytes, of one tunnel downward
	queueLimit   = 256 << 20 // bytes, of all tunnels through one proxy
	seats        = 8         // tunnels on a connection before there is another
	idleTimeout  = time.Minute
)

// A pool holds the HTTP/2 connections to one proxy. The zero value is empty.
type pool struct {
	mu      sync.Mutex
	conns   []*carrier
	flights []*flight
	plain   bool   // the proxy has picked HTTP/1.1: nobody waits to share
	only11  bool   // it is asked in HTTP/1.1 alone
	carries bool   // it has opened tunnels over HTTP/2
	streams uint32 // its limit of streams, once that has mattered
	queued  *h2connect.Limit
}

// A carrier is an HTTP/2 connection to a proxy.
type carrier struct {
	*h2connect.Conn
	secure *tls.Conn
	below  net.Conn // under TLS: a socket, or a tunnel of the proxy before
	taken  int      // seats; guarded by the pool's mu
	idle   *time.Timer
}

// A flight is a connection that is being opened, with as many tunnels waiting for
// it as it will take.
type flight struct {
	done chan struct{}
	free int
	err  error // for who waits
}

// connectionH2 returns a connection with room for a tunnel. One that has to be
// opened offers h2 and HTTP/1.1, and what the proxy picks decides: for HTTP/1.1
// the wire is that very connection.
func (h *Hop) connectionH2(ctx context.Context) (*carrier, *wire, error) {
	p := &h.pool
	for {
		p.mu.Lock()
		if p.only11 {
			p.mu.Unlock()
			w, err := h.open(ctx)
			return nil, w, err
		}
		if c := p.roomy(seats); c != nil {
			p.mu.Unlock()
			return c, nil, nil
		}
		f := p.board()
		if f == nil {
			return h.fly(ctx) // unlocks
		}
		p.mu.Unlock()
		select {
		case <-f.done:
			if f.err != nil {
				return nil, nil, copied(f.err)
			}
		case <-ctx.Done():
			return nil, nil, h.fail(ctx, OpDial, "", ctx.Err())
		}
	}
}

// roomy takes a seat on a connection where fewer than most are taken and that is
// not stalled, and keeps it from closing; p.mu is held.
func (p *pool) roomy(most int) *carrier {
	for _, c := range p.conns {
		if c.Room() && max(c.taken, c.Streams()) < most && !c.Stalled() {
			c.taken++
			c.idle.Stop()
			return c
		}
	}
	return nil
}

// board finds a flight with a free place; p.mu is held.
func (p *pool) board() *flight {
	for _, f := range p.flights {
		if f.free > 0 && !p.plain {
			f.free--
			return f
		}
	}
	return nil
}

// fly opens a connection; p.mu is held, and released.
func (h *Hop) fly(ctx context.Context) (c *carrier, w *wire, err error) {
	p := &h.pool
	f := &flight{done: make(chan struct{}), free: seats - 1}
	if p.streams > 0 {
		f.free = min(f.free, int(p.streams)-1)
	}
	p.flights = append(p.flights, f)
	p.mu.Unlock()
	conn, under, err := h.reachH2(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	defer close(f.done)
	p.flights = slices.DeleteFunc(p.flights, func(g *flight) bool { return g == f })
	if err != nil {
		if c := p.roomy(lastResort); c != nil { // one more was not to be had: a full one is better than none
			return c, nil, nil
		}
		if ctx.Err() == nil { // otherwise whoever waits tries for himself
			f.err = copied(err)
		}
		return nil, nil, err
	}
	if p.plain = under == nil; p.plain {
		return nil, h.wire(ctx, conn), nil
	}
	return p.start(h, conn, under), nil, nil
}

// lastResort is more tunnels than a connection ever has.
const lastResort = 1 << 20

// start speaks HTTP/2; p.mu is held.
func (p *pool) start(h *Hop, secure *tls.Conn, under *sock.Conn) *carrier {
	if p.queued == nil {
		p.queued = &h2connect.Limit{Max: queueLimit}
	}
	c := &carrier{secure: secure, below: under.Conn, taken: 1}
	c.idle = time.AfterFunc(idleTimeout, func() { p.expire(c) })
	c.idle.Stop() // not yet
	c.Conn = h2connect.New(secure, under, h2connect.Config{
		Shared:     true,
		Window:     streamWindow,
		KeepAlive:  h.KeepAlive,
		MaxStreams: p.streams,
		Limit:      p.queued,
		OnIdle:     func(*h2connect.Conn) { p.rest(c) },
		OnClose:    func(_ *h2connect.Conn, _ int, err error) { p.closed(c, err) },
		Log:        h.Log,
	})
	p.conns = append(p.conns, c)
	return c
}

// leave gives a seat back.
func (p *pool) leave(c *carrier) {
	p.mu.Lock()
	c.taken--
	p.mu.Unlock()
	p.rest(c)
}

// rest has a connection without tunnels closed, if it stays so.
func (p *pool) rest(c *carrier) {
	if c.Streams() == 0 {
		c.idle.Reset(idleTimeout)
	}
}

func (p *pool) expire(c *carrier) {
	if c.Streams() == 0 {
		c.Retire() // a tunnel that comes in this moment goes elsewhere
	}
}

// closed forgets a connection. Where its path was dead, that of the others
// without tunnels, which nobody watches, is not to be relied on.
func (p *pool) closed(c *carrier, err error) {
	p.mu.Lock()
	c.idle.Stop()
	p.conns = slices.DeleteFunc(p.conns, func(d *carrier) bool { return d == c })
	others := slices.Clone(p.conns)
	p.mu.Unlock()
	if errors.Is(err, h2connect.ErrDeadPath) {
		for _, c := range others {
			p.expire(c)
		}
	}
}

// retire closes the connections, each with its last tunnel.
func (p *pool) retire() {
	p.mu.Lock()
	all := slices.Clone(p.conns)
	p.mu.Unlock()
	for _, c := range all {
		c.Retire()
	}
}

// insistHTTP1 turns to HTTP/1.1 for good: the proxy offers h2, and does not take
// CONNECT, or the credentials that it wants, on it.
func (h *Hop) insistHTTP1() {
	h.pool.mu.Lock()
	h.pool.only11 = true
	h.pool.mu.Unlock()
	h.log().Debug("the proxy is asked in HTTP/1.1 from now on", "hop", h.String())
	h.pool.retire()
}

func (p *pool) insists() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.only11
}

// refuses says whether err is about CONNECT over HTTP/2 as such, and not about
// one request.
func (p *pool) refuses(err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return h2connect.Wants11(err) || h2connect.Malformed(err) && !p.carries
}

func (p *pool) carried() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.carries = true
}

// limited notes the proxy's limit of streams: the next connection need not run
// into it.
func (p *pool) limited(streams uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.streams = streams
}

// reachH2 dials the proxy and finishes the TLS handshake. Where the proxy picks
// h2, what the handshake writes last is held back in under, and leaves with the
// first request. Where it does not, under is nil.
func (h *Hop) reachH2(ctx context.Context) (secure *tls.Conn, under *sock.Conn, err error) {
	conn, err := h.dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	under = sock.NewConn(conn)
	below := &seam{under}
	if secure, err = h.handshake(ctx, below, protoHTTP2, protoHTTP1); err != nil {
		return nil, nil, err
	}
	if secure.ConnectionState().NegotiatedProtocol == protoHTTP2 {
		return secure, under, nil
	}
	if err := under.Flush(); err != nil {
		conn.Close()
		return nil, nil, h.fail(ctx, OpTLS, "", err)
	}
	below.Conn = conn
	return secure, nil, nil
}

// A seam lies under TLS. After the handshake, what is below may be changed.
type seam struct{ net.Conn }

// NetConn returns the connection below, for socket options.
func (s *seam) NetConn() net.Conn { return s.Conn }

// copied is err for one more caller: each may put its own source in.
func copied(err error) error {
	if failed, ok := err.(*Error); ok {
		again := *failed
		return &again
	}
	return err
}
