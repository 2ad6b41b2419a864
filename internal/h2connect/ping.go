package h2connect

import (
	"sync/atomic"
	"time"
)

const (
	defaultKeepAlive   = 30 * time.Second
	defaultPingTimeout = 15 * time.Second
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
	asked   bool  // a PING is out
	askedAt int64 // ns since base
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
	p.hear()
	if p.timer == nil {
		p.timer = time.AfterFunc(p.every, p.tick)
	} else {
		p.timer.Reset(p.every)
	}
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
	case p.asked && heard <= p.askedAt:
		if quiet := time.Duration(now - p.askedAt); quiet < p.timeout {
			p.timer.Reset(p.timeout - quiet)
			return false
		}
		return true
	case quiet < p.every:
		p.asked = false
		p.timer.Reset(p.every - quiet)
	default:
		p.asked, p.askedAt = true, now
		p.c.laterLocked(func() { p.c.framer.WritePing(false, [8]byte{'p', 'o', 'm'}) })
		p.timer.Reset(p.timeout)
	}
	return false
}
