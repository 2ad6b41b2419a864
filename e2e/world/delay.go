package world

import (
	"io"
	"net"
	"sync"
	"time"
)

// Delay is a TCP relay that is far away: what it carries arrives later, however much it is. It limits no bandwidth.
type Delay struct {
	OneWay time.Duration            // how long a byte travels
	Dial   func() (net.Conn, error) // reaches the other side

	mu    sync.Mutex
	conns map[net.Conn]bool
}

// Serve relays the connections that ln accepts until ln is closed.
func (d *Delay) Serve(ln net.Listener) {
	for {
		near, err := ln.Accept()
		if err != nil {
			return
		}
		go d.relay(near) // ended by Close, or by its ends
	}
}

// Close cuts the connections there are.
func (d *Delay) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for conn := range d.conns {
		conn.Close()
	}
}

func (d *Delay) track(conn net.Conn, open bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conns == nil {
		d.conns = make(map[net.Conn]bool)
	}
	if open {
		d.conns[conn] = true
	} else {
		delete(d.conns, conn)
	}
}

func (d *Delay) relay(near net.Conn) {
	far, err := d.Dial()
	if err != nil {
		near.Close()
		return
	}
	for _, conn := range []net.Conn{near, far} {
		defer conn.Close()
		d.track(conn, true)
		defer d.track(conn, false)
	}
	var both sync.WaitGroup
	// The caller's handshake was with us, at no distance; its first bytes pay for it: one round trip.
	both.Go(func() { carry(far, near, d.OneWay, time.Now().Add(3*d.OneWay)) })
	both.Go(func() { carry(near, far, d.OneWay, time.Time{}) })
	both.Wait()
}

type parcel struct {
	due   time.Time
	bytes []byte
}

// carry moves bytes from src to dst, each due oneWay after it was read and none before earliest. The end of src is passed on as
// late as a byte; an error of either side cuts both.
func carry(dst, src net.Conn, oneWay time.Duration, earliest time.Time) {
	way := make(chan parcel, 1<<14) // 64 KiB each: no pipe that the tests fill is longer
	go func() {
		defer close(way)
		for {
			buf := make([]byte, 64<<10)
			n, err := src.Read(buf)
			due := time.Now().Add(oneWay)
			if due.Before(earliest) {
				due = earliest
			}
			if n > 0 {
				way <- parcel{due, buf[:n]}
			}
			if err != nil {
				if err != io.EOF {
					dst.Close()
				}
				way <- parcel{due, nil}
				return
			}
		}
	}()
	for p := range way {
		time.Sleep(time.Until(p.due))
		if p.bytes == nil {
			dst.(*net.TCPConn).CloseWrite()
			continue
		}
		if _, err := dst.Write(p.bytes); err != nil {
			src.Close() // its reader then ends; what is on the way is dropped
		}
	}
}
