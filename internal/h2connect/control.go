package h2connect

import (
	"time"

	"golang.org/x/net/http2"
)

// goodbyeTime bounds how long a peer that broke the rules may keep us from
// saying so.
const goodbyeTime = time.Second

// later has a frame sent without making the caller, the read loop, wait for
// the socket: the peer may be waiting for us to read.
func (c *Conn) later(frame func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.laterLocked(frame)
}

func (c *Conn) laterLocked(frame func()) {
	c.control = append(c.control, frame)
	if !c.sending {
		c.sending = true
		go c.sendControl() // ends when the list is empty; a closed socket ends a stuck write
	}
}

func (c *Conn) sendControl() {
	for {
		c.mu.Lock()
		frames := c.control
		c.control = nil
		c.sending = len(frames) > 0
		c.mu.Unlock()
		if len(frames) == 0 {
			return
		}
		c.write(func() error {
			for _, f := range frames {
				f()
			}
			return nil
		})
	}
}

// flooded tells whether more frames wait to be sent than any peer that reads
// lets pile up: PINGs and SETTINGS want an answer each (RFC 9113 section 10.5).
func (c *Conn) flooded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.control) > maxControl
}

// goodbye tells the peer which rule it broke, with GOAWAY, before the connection
// closes (RFC 9113 section 5.4.1). The last of its streams is 0: it opens none.
func (c *Conn) goodbye(code http2.ErrCode) {
	c.under.Conn.SetWriteDeadline(time.Now().Add(goodbyeTime)) // also for who is stuck in a write now
	c.write(func() error { return c.framer.WriteGoAway(0, code, nil) })
}
