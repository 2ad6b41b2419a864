// Package h2connect is the client side of an HTTP/2 connection that carries
// CONNECT streams (RFC 9113 section 8.5) and nothing else, over any net.Conn.
//
// A connection is of one of two kinds, fixed by the SETTINGS that it opens
// with. A solo connection carries one tunnel at a time and stops reading the
// socket when the local end is slow. A shared connection is always read, and
// each of its streams has a queue. Why it takes two kinds: an edge drops the
// bytes that a window does not let it send at the moment when the destination
// closes, so no window may shut while a tunnel can help it.
//
// It is not a general HTTP/2 client: no requests with bodies, no push, no
// priorities.
package h2connect

import (
	"bytes"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/pomerium/pomerium-cli/internal/sock"
)

// Windows and limits, in bytes unless said otherwise.
const (
	// SoloWindow is more than sockets and proxies on a path hold, so that it
	// never shuts while the socket is read.
	SoloWindow = 128 << 20
	// SharedWindow is the window of one stream among many.
	SharedWindow = 64 << 20
	// SharedQueue is how much of a shared stream may wait for a slow local end
	// before its window is given back only as the local end takes it.
	SharedQueue = 16 << 20

	connWindow     = 1<<31 - 1
	initialWindow  = 65535 // RFC 9113 section 6.9.2
	soloCredit     = 16 << 20
	sharedCredit   = 8 << 20
	connCredit     = 64 << 20
	maxHeaderList  = 64 << 10
	maxControl     = 10_000 // frames, without DATA, that wait for the socket
	frameHeader    = 9
	maxPayload     = 16384 - frameHeader // a frame then fills a TLS record exactly
	downPiece      = 48 << 10            // gathered for one write downward: it is still in the processor's cache then
	streamsAtFirst = 100                 // until SETTINGS tell (as RFC 9113 section 6.5.2 recommends at least)
	lastStreamID   = 1<<31 - 1
)

// Config tells how a connection behaves. The zero value is a solo connection
// with pings every 20 seconds.
type Config struct {
	Shared bool
	// Window is how much of a stream on a shared connection may be under way, or
	// wait for its reader: credit is given only for what has been read. 0 is for
	// the streams of an edge: SharedWindow, which stays open until SharedQueue waits.
	Window      int
	KeepAlive   time.Duration // silence before a PING; 0: 20 s, negative: never
	PingTimeout time.Duration // silence after a PING that means a dead path; 0: 15 s
	MaxStreams  uint32        // the peer's limit until its SETTINGS tell; 0: 100
	Limit       *Limit        // bounds the queues of several connections together; nil: none
	OnIdle      func(*Conn)   // no stream is left: the last has ended, or did not get in; called without locks
	// OnClose is called once, without locks, when the connection is gone. lost
	// is how many streams it took along, without those that waited for an answer.
	OnClose func(c *Conn, lost int, err error)
	Log     *slog.Logger // nil: no logs
}

// flow is how the window of a stream is given back, in bytes.
type flow struct {
	window int // at first
	free   int // so much of what waits for the reader is given back all the same
	credit int // the least that is worth a WINDOW_UPDATE
}

func (cfg *Config) flow() flow {
	switch {
	case !cfg.Shared:
		return flow{SoloWindow, 0, soloCredit}
	case cfg.Window > 0:
		return flow{cfg.Window, 0, cfg.Window / 4}
	}
	return flow{SharedWindow, SharedQueue, sharedCredit}
}

// A Conn is one HTTP/2 connection to an edge or a proxy.
type Conn struct {
	cfg   Config
	flow  flow
	top   net.Conn   // frames go here: TLS, or under itself
	under *sock.Conn // below TLS

	writers atomic.Int32  // who writes or waits to; the last one flushes
	wmu     sync.Mutex    // orders frames and header compression
	framer  *http2.Framer // its reading half is the read loop's
	hpack   *hpack.Encoder
	block   bytes.Buffer // header block being encoded

	mu         sync.Mutex
	streams    map[uint32]*Stream
	nextID     uint32
	maxStreams uint32
	peerWindow int64 // a new stream's send window
	sendWindow int64 // the connection's
	starved    map[*Stream]struct{}
	retired    bool // no new streams: GOAWAY, or told so
	err        error
	control    []func() // frames that the read loop wants sent
	sending    bool     // a goroutine sends them
	ping       pinger

	opening atomic.Int32  // CONNECTs without an answer
	nudge   chan struct{} // wakes a paused read loop
	done    chan struct{} // closed when the read loop has ended

	in reader
}

// New starts an HTTP/2 connection on top, whose bytes pass through under. The
// preface leaves with the first request, and with what under holds back of a
// TLS handshake, in one segment: a proxy that leaves Nagle's algorithm on would
// hold the second of two for 40 ms.
func New(top net.Conn, under *sock.Conn, cfg Config) *Conn {
	c := &Conn{
		cfg:        cfg,
		flow:       cfg.flow(),
		top:        top,
		under:      under,
		streams:    map[uint32]*Stream{},
		nextID:     1,
		maxStreams: streamsAtFirst,
		peerWindow: initialWindow,
		sendWindow: initialWindow,
		starved:    map[*Stream]struct{}{},
		nudge:      make(chan struct{}, 1),
		done:       make(chan struct{}),
	}
	if cfg.MaxStreams > 0 {
		c.maxStreams = cfg.MaxStreams
	}
	c.hpack = hpack.NewEncoder(&c.block)
	if !cfg.Shared {
		c.hpack.SetMaxDynamicTableSizeLimit(0) // a table would serve the next tunnel only
	}
	c.framer = http2.NewFramer(top, &c.in.frame)
	c.in.init(c.framer)
	c.ping.init(c)
	under.Poll()
	c.preface()
	go c.run() // ends when the socket does: Close waits for it
	return c
}

// Greet sends the preface of a connection that nobody opens a stream on yet.
func (c *Conn) Greet() { c.later(func() {}) }

// preface leaves its bytes in the held-back buffer.
func (c *Conn) preface() {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	// Errors are sticky below, and the next write meets them.
	c.top.Write([]byte(http2.ClientPreface))
	c.framer.WriteSettings(
		http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0}, // answers are few and short: no memory for them
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(c.flow.window)},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: maxHeaderList},
	)
	c.framer.WriteWindowUpdate(0, connWindow-initialWindow)
}

// write runs f under the write lock. Whoever finds nobody waiting behind him
// sends what all of them have written.
func (c *Conn) write(f func() error) error {
	c.writers.Add(1)
	c.wmu.Lock()
	defer c.wmu.Unlock()
	err := f()
	if c.writers.Add(-1) == 0 {
		if e := c.under.Flush(); err == nil {
			err = e
		}
	}
	return err
}

// Streams returns how many streams are open.
func (c *Conn) Streams() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.streams)
}

// MaxStreams returns how many streams the peer allows, as far as it has told.
func (c *Conn) MaxStreams() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.maxStreams
}

// Room tells whether a new stream may be opened.
func (c *Conn) Room() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err == nil && !c.retired && uint32(len(c.streams)) < c.maxStreams
}

// Stalled tells whether the peer takes no more just now from the connection as a
// whole: a stream that it serves slowly may hold up all of them.
func (c *Conn) Stalled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sendWindow <= 0
}

// Shared tells which kind of connection this is.
func (c *Conn) Shared() bool { return c.cfg.Shared }

// Retire lets no new stream in; the connection closes when the last one ends.
func (c *Conn) Retire() {
	c.mu.Lock()
	c.retired = true
	idle := len(c.streams) == 0
	c.mu.Unlock()
	if idle {
		c.fail(errRetired)
	}
}

// Close resets all streams, closes the connection and waits for its goroutine.
func (c *Conn) Close() error {
	c.fail(net.ErrClosed)
	<-c.done
	return nil
}

// remove forgets an ended stream, or one that was never admitted.
func (c *Conn) remove(s *Stream) {
	c.mu.Lock()
	_, there := c.streams[s.id]
	there = there || s.id == 0
	delete(c.streams, s.id)
	delete(c.starved, s)
	idle := there && len(c.streams) == 0 && c.err == nil
	retired := c.retired
	if idle {
		c.ping.stop()
	}
	c.mu.Unlock()
	if !idle {
		return
	}
	if retired {
		c.fail(errRetired)
		return
	}
	if c.cfg.OnIdle != nil {
		c.cfg.OnIdle(c)
	}
}

// fail ends the connection and all its streams with err, the first time.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	streams := c.streams
	c.streams = map[uint32]*Stream{}
	clear(c.starved)
	c.ping.stop()
	c.mu.Unlock()

	lost := 0
	for _, s := range streams {
		if s.isOpen() {
			lost++
		}
	}
	if c.cfg.OnClose != nil { // before the streams: whoever tries again must find it done
		c.cfg.OnClose(c, lost, err)
	}
	for _, s := range streams {
		s.fail(&Error{Op: "connection", Err: err})
	}
	c.under.Close() // not TLS's Close: it would wait for a stuck writer
	c.wake()
}

// wake ends a pause of the read loop, or makes it look again.
func (c *Conn) wake() {
	select {
	case c.nudge <- struct{}{}:
	default:
	}
}
