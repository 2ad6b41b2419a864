package h2connect

import (
	"sync/atomic"
	"time"
)

const (
	// The shortest limit on silence that proxies come with is 30 s (traffic
	// server, on Debian).
	defaultKeepAlive   = 20 * time.Second
	defaultPingTimeout = 15 * time.Second

	// A connection that was idle for staleAfter may have been dropped on the
	// way without a word: its next CONNECT goes out with a PING that has to be
	// answered soon, so that a dead spare costs seconds.
	staleAfter   = 10 * time.Second
	staleTimeout = 5 * time.Second
)

// A pinger keeps the path open and finds out when it is dead: a PING after a
// silence, and no byte for a while after that means nobody is there. Its clock
// stands still while the read loop pauses, and there is no timer while no
// stream is open.
type pinger struct {
	c       *Conn
	every   time.Duration
	timeout time.Duration
	heard   atomic.Int64 // when something last arrived, in ns since base
	paused  atomic.Bool
	base    time.Time

	// Guarded by c.mu.
	timer   *time.Timer
	running bool
	asked   bool          // a PING is out
	askedAt int64         // ns since base
	limit   time.Duration // how long its answer may take
}

func (p *pinger) init(c *Conn) {
	p.c = c
	p.base = time.Now()
	p.every, p.timeout = c.cfg.KeepAlive, c.cfg.PingTimeout
	if p.every == 0 {
		p.every = defaultKeepAlive
	}
	if p.timeout == 0 {
		p.timeout = defaultPingTimeout
	}
}

func (p *pinger) now() int64 { return int64(time.Since(p.base)) }

// hear notes that bytes have arrived.
func (p *pinger) hear() { p.heard.Store(p.now()) }

// start runs the clock; c.mu is held.
func (p *pinger) start() {
	if p.every < 0 || p.running {
		return
	}
	p.running, p.asked = true, false
	first := p.every
	if idle := time.Duration(p.now() - p.heard.Load()); idle > staleAfter {
		first = p.ask(min(p.timeout, staleTimeout))
	} else {
		p.hear()
	}
	if p.timer == nil {
		p.timer = time.AfterFunc(first, p.tick)
	} else {
		p.timer.Reset(first)
	}
}

// ask sends a PING whose answer may take limit, and returns when to look again:
// an answer that comes sooner must not put off the next PING.
func (p *pinger) ask(limit time.Duration) time.Duration {
	p.asked, p.askedAt, p.limit = true, p.now(), limit
	p.c.laterLocked(func() { p.c.framer.WritePing(false, [8]byte{'p', 'o', 'm'}) })
	return min(limit, p.every)
}

// stop halts the clock; c.mu is held.
func (p *pinger) stop() {
	p.running = false
	if p.timer != nil {
		p.timer.Stop()
	}
}

func (p *pinger) tick() {
	p.c.mu.Lock()
	dead := p.tickLocked()
	p.c.mu.Unlock()
	if dead {
		p.c.fail(ErrDeadPath)
	}
}

func (p *pinger) tickLocked() (dead bool) {
	if !p.running || p.c.err != nil {
		return false
	}
	now, heard := p.now(), p.heard.Load()
	quiet := time.Duration(now - heard)
	switch {
	case p.paused.Load():
		p.asked = false
		p.timer.Reset(p.every)
	case p.asked && heard < p.askedAt: // a coarse clock may give both the same time
		if quiet := time.Duration(now - p.askedAt); quiet < p.limit {
			p.timer.Reset(p.limit - quiet)
			return false
		}
		return true
	case quiet < p.every:
		p.asked = false
		p.timer.Reset(p.every - quiet)
	default:
		p.timer.Reset(min(p.ask(p.timeout), p.every)) // an answer in time must not delay the next PING
	}
	return false
}
