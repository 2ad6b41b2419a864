//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// halfClose ends the local side right after the request, and counts how often the destination's answer arrives. On HTTP/2 the
// destination waits for that end; on HTTP/1.1, where no end can be passed on, it answers after a pause.
func halfClose(ctx context.Context, b *bench, p path) error {
	const tries, size = 20, 10_000
	arrived := b.figure("answers after a half-close, of 20", p, "", goal{limit: tries, least: true})
	request := fmt.Sprintf("%s %d\n", sayEnd, size)
	if p.protocol == "h1" {
		request = fmt.Sprintf("%s %d\n", sayLate, size)
	}
	f, err := b.field(ctx, p, ours, naive)
	if err != nil {
		return err
	}
	defer f.stop()
	return f.inTurn(ctx, 1, func(i *instance) error {
		var count atomic.Int32
		err := atOnce(tries, func(int) error {
			conn, _, err := i.open()
			if err != nil {
				return err
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(5 * time.Second)) // where nobody passes the end on, no answer comes
			io.WriteString(conn, request)
			conn.CloseWrite()
			if n, err := count64(conn); n == size && err == nil {
				count.Add(1)
			}
			return nil
		})
		arrived.add(i.name, float64(count.Load()))
		return err
	})
}

// slow reads in pieces with pauses what a destination sends, which closes as soon as it has sent: edge case 61.
func slow(ctx context.Context, b *bench, p path) error {
	size := int64(256 << 20)
	if b.quick {
		size = 64 << 20
	}
	every := goal{limit: float64(size) / (1 << 20), least: true}
	arrived := b.figure(fmt.Sprintf("bytes of %d MiB that reach a slow reader", size>>20), p, "MiB", every)
	f, err := b.field(ctx, p, ours, naive)
	if err != nil {
		return err
	}
	defer f.stop()
	return f.inTurn(ctx, min(b.repeat, 2), func(i *instance) error {
		conn, _, err := i.open()
		if err != nil {
			return err
		}
		defer conn.Close()
		fmt.Fprintf(conn, "%s %d\n", sayLast, size)
		n, _ := count64(&pauses{TCPConn: conn}) // what is missing says that there was an error
		arrived.add(i.name, float64(n)/(1<<20))
		return nil
	})
}

// pauses is a connection whose reader stops for a while again and again.
type pauses struct {
	*net.TCPConn
	read int64 // since the last one
}

func (c *pauses) Read(p []byte) (int, error) {
	if c.read >= 4<<20 {
		c.read = 0
		time.Sleep(50 * time.Millisecond)
	}
	n, err := c.TCPConn.Read(p)
	c.read += int64(n)
	return n, err
}

// count64 reads to the end and counts.
func count64(r io.Reader) (n int64, err error) {
	for buf := make([]byte, chunk); ; {
		k, err := r.Read(buf)
		if n += int64(k); err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// drain reads to the end.
func drain(r io.Reader) error {
	_, err := count64(r)
	return err
}
