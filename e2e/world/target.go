package world

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"time"
)

// Order is the first line that a client sends to the target, and says what the target is to do: send bytes and
// take bytes at the same time, then end.
type Order struct {
	Send int64 // bytes of Pattern to send
	Take int64 // bytes to take; -1: until the client ends its side
	End  string
}

// How the target ends.
const (
	Close  = "close"  // at once when all is sent and taken
	Digest = "digest" // after the SHA-256, in hexadecimal, of what it took
	Reset  = "reset"  // with a TCP reset
)

func (o Order) String() string { return fmt.Sprintf("%d %d %s\n", o.Send, o.Take, o.End) }

// ServeTarget serves orders on ln until it is closed.
func ServeTarget(ln net.Listener) { serve(ln, target) }

// ServeEcho sends back what it gets, and ends when the client has ended.
func ServeEcho(ln net.Listener) {
	serve(ln, func(c *net.TCPConn) { io.Copy(c, c) })
}

// ServeWeb answers every request with the method and the path; /late after a pause.
func ServeWeb(ln net.Listener) {
	http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			time.Sleep(100 * time.Millisecond)
		}
		fmt.Fprintf(w, "%s %s\n", r.Method, r.URL.Path)
	}))
}

func serve(ln net.Listener, handle func(*net.TCPConn)) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			handle(conn.(*net.TCPConn))
		}()
	}
}

func target(conn *net.TCPConn) {
	r := bufio.NewReader(conn)
	var o Order
	if _, err := fmt.Fscanf(r, "%d %d %s\n", &o.Send, &o.Take, &o.End); err != nil {
		return
	}
	taken := make(chan hash.Hash)
	go func() {
		sum := sha256.New()
		if o.Take < 0 {
			io.Copy(sum, r)
		} else {
			io.CopyN(sum, r, o.Take)
		}
		taken <- sum
	}()
	_, err := io.Copy(conn, io.LimitReader(NewPattern(), o.Send))
	sum := <-taken
	switch {
	case err != nil:
	case o.End == Digest:
		io.WriteString(conn, hex.EncodeToString(sum.Sum(nil)))
	case o.End == Reset:
		conn.SetLinger(0)
	}
}

// Pattern is an endless run of bytes that does not repeat within any window a buffer has, so that bytes lost,
// doubled or swapped change its checksum.
type Pattern struct{ next uint64 }

// NewPattern returns the pattern from its start.
func NewPattern() *Pattern { return &Pattern{} }

// Read fills b with the pattern.
func (p *Pattern) Read(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], (p.next/8+1)*0x9e3779b97f4a7c15)
		n := copy(b[done:], word[p.next%8:])
		done += n
		p.next += uint64(n)
	}
	return done, nil
}

// Sum is the SHA-256, in hexadecimal, of the first n bytes of the pattern.
func Sum(n int64) string {
	sum := sha256.New()
	io.CopyN(sum, NewPattern(), n)
	return hex.EncodeToString(sum.Sum(nil))
}
