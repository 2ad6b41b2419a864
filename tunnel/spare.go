package tunnel

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/pomerium/pomerium-cli/internal/h2connect"
)

// onIdle keeps a connection whose last tunnel has ended, for a while.
func (p *pool) onIdle(c *h2connect.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, there := p.solo[c]; there {
		p.solo[c] = false
	}
	p.startIdle(c)
}

func (p *pool) startIdle(c *h2connect.Conn) {
	if p.closed || p.idle[c] != nil {
		return
	}
	p.idle[c] = time.AfterFunc(idleTimeout, func() {
		p.mu.Lock()
		delete(p.idle, c)
		p.mu.Unlock()
		if c.Streams() == 0 {
			c.Retire() // closes it; a tunnel that comes in this moment goes elsewhere
		}
	})
}

func (p *pool) stopIdle(c *h2connect.Conn) {
	if t := p.idle[c]; t != nil {
		t.Stop()
		delete(p.idle, c)
	}
}

func (p *pool) onClose(c *h2connect.Conn, lost int, err error) {
	if errors.Is(err, h2connect.ErrDeadPath) {
		defer p.dropIdle()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.solo, c)
	p.shared = slices.DeleteFunc(p.shared, func(s *h2connect.Conn) bool { return s == c })
	p.stopIdle(c)
	if lost == 0 || p.closed || p.c.Log == nil {
		return
	}
	if p.lost += lost; p.lost == lost { // the first: the others have a moment to join
		time.AfterFunc(lossPause, func() { p.tellLost(err) })
	}
}

// dropIdle closes the connections without tunnels: where one path is dead, the
// others of the same age are, and each would take seconds to find out.
func (p *pool) dropIdle() {
	p.mu.Lock()
	conns := slices.Collect(maps.Keys(p.idle))
	links := p.links
	p.links = nil
	p.mu.Unlock()
	for _, c := range conns {
		c.Retire()
	}
	for _, l := range links {
		l.close()
	}
}

func (p *pool) tellLost(err error) {
	p.mu.Lock()
	n, closed := p.lost, p.closed
	p.lost = 0
	p.mu.Unlock()
	if !closed {
		p.c.Log.Warn("connection to the edge lost", "edge", p.l.name, "tunnels", n, "err", err)
	}
}

func (p *pool) keepAlone(destination string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alone[destination] = true
}

// warm has a spare connection dialed unless one is there.
func (p *pool) warm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.c.Spare || p.closed || p.warming || !p.wantsSpare() {
		return
	}
	p.warming = true
	p.wg.Go(p.dialSpare) // joined by close
}

func (p *pool) wantsSpare() bool {
	if p.h1 {
		return len(p.links) == 0
	}
	for _, busy := range p.solo {
		if !busy {
			return false
		}
	}
	return len(p.solo)+p.dialing < p.max
}

func (p *pool) dialSpare() {
	l, err := p.dial(p.ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.warming = false
	switch {
	case err != nil: // the next tunnel will meet it, and tell
	case p.closed:
		l.close()
	case l.h2 && !p.only11:
		p.h1 = false
		c := p.start(l, false)
		c.Greet()
		p.solo[c] = false
		p.startIdle(c)
	default:
		p.h1 = true
		time.AfterFunc(spareFlush, func() { l.under.Flush() })
		p.links = append(p.links, l)
		time.AfterFunc(idleTimeout, func() { p.dropLink(l) })
	}
}

func (p *pool) dropLink(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.links, l); i >= 0 {
		p.links = slices.Delete(p.links, i, i+1)
		l.close()
	}
}
