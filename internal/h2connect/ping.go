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

	// A connection on which nothing arrived for staleAfter, or the machine slept,
	// may have been dropped on the way without a word: its next CONNECT goes out
	// with a PING that has to be answered soon, so that a dead path costs seconds.
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
	wall    time.Time     // base, by the clock that goes on while the machine sleeps
	sleep   time.Duration // how far that clock is ahead
	timer   *time.Timer
	running bool
	asked   bool          // a PING is out
	askedAt int64         // ns since base
	limit   time.Duration // how long its answer may take
}

func (p *pinger) init(c *Conn) {
	p.c = c
	p.base = time.Now()
	p.wall = p.base.Round(0)
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

// start runs the clock for a CONNECT; c.mu is held.
func (p *pinger) start() {
	if p.every < 0 {
		return
	}
	stale := p.slept() || time.Duration(p.now()-p.heard.Load()) > staleAfter
	if p.running {
		if stale && !p.asked && !p.paused.Load() {
			p.timer.Reset(p.ask(min(p.timeout, staleTimeout)))
		}
		return
	}
	p.running, p.asked = true, false
	first := p.every
	if stale {
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

// slept says whether the machine was asleep since the last call: the monotonic
// clock of Linux and macOS stands still meanwhile. A wall clock that was set
// ahead looks the same, and costs a PING.
func (p *pinger) slept() bool {
	now := time.Now()
	before := p.sleep
	p.sleep = now.Round(0).Sub(p.wall) - now.Sub(p.base)
	return p.sleep-before > staleAfter
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
	case p.slept():
		p.timer.Reset(p.ask(min(p.timeout, staleTimeout)))
	case quiet < p.every:
		p.asked = false
		p.timer.Reset(p.every - quiet)
	default:
		p.timer.Reset(min(p.ask(p.timeout), p.every)) // an answer in time must not delay the next PING
	}
	return false
}
