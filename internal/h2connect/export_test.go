package h2connect

import "time"

// Sleep has the wall clock go on, and the monotonic one not.
func Sleep(c *Conn, d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ping.wall = c.ping.wall.Add(-d)
}
