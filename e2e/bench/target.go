//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"time"
)

// What the target does when told so, on a line with a number behind it. It greets each client with one byte, so that the first
// byte that comes back tells when a tunnel was open.
const (
	sayDown = "down" // sends so many bytes
	sayUp   = "up"   // takes so many bytes, and sends one
	sayLast = "last" // sends so many bytes and closes
	sayLate = "late" // the same after a pause
	sayEnd  = "end"  // takes what comes until the client's end, then sends so many bytes and closes
)

const (
	greeting = 'h'
	pause    = 50 * time.Millisecond
)

// target serves on ln until it is closed.
func target(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			conn.Write([]byte{greeting})
			for r := bufio.NewReader(conn); obey(conn, r) == nil; {
			}
		}()
	}
}

// obey does what one line says; its error is the end.
func obey(conn net.Conn, r *bufio.Reader) error {
	var what string
	var n int64
	if _, err := fmt.Fscanf(r, "%s %d\n", &what, &n); err != nil {
		return err
	}
	switch what {
	case sayDown:
		return send(conn, n)
	case sayUp:
		if err := take(r, n); err != nil {
			return err
		}
		return send(conn, 1)
	case sayLast:
		send(conn, n)
	case sayLate:
		time.Sleep(pause)
		send(conn, n)
	case sayEnd:
		io.Copy(io.Discard, r)
		send(conn, n)
	}
	return io.EOF
}

const chunk = 256 << 10 // larger than what a contender moves at once

var zeros [chunk]byte

// send sends n bytes; which ones does not matter here: nothing on the way compresses, and the tests compare checksums.
func send(w io.Writer, n int64) error {
	for n > 0 {
		k, err := w.Write(zeros[:min(n, chunk)])
		if n -= int64(k); err != nil {
			return err
		}
	}
	return nil
}

// take reads n bytes.
func take(r io.Reader, n int64) error {
	for buf := make([]byte, min(n, chunk)); n > 0; {
		k, err := r.Read(buf[:min(n, chunk)])
		if n -= int64(k); err != nil && n > 0 {
			return err
		}
	}
	return nil
}
