package lab

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// serveH1 answers requests until one of them turns the connection into a tunnel, or ends it.
func (e *edge) serveH1(c net.Conn, br *bufio.Reader) {
	for {
		req, err := http.ReadRequest(br)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			e.endH1(c, newRequest("", "", "", nil), text(http.StatusBadRequest, "Bad Request"))
			return
		}
		if req.Method == http.MethodConnect {
			e.connectH1(c, br, req)
			return
		}
		io.Copy(io.Discard, req.Body)
		r := newRequest(req.Method, req.Host, req.URL.RequestURI(), req.Header)
		a := e.answered(r, e.get(r))
		if req.Close || a.drain {
			e.endH1(c, r, a)
			return
		}
		if _, err := c.Write(append(a.head(r, false), a.body...)); err != nil {
			return
		}
	}
}

// endH1 writes an answer and ends the connection, as every refused CONNECT does.
func (e *edge) endH1(c net.Conn, r *request, a *answer) {
	c.Write(append(a.head(r, true), a.body...))
	finish(c)
	io.Copy(io.Discard, c)
}

// lingering is how long the edge reads on after its last byte, so that its close does not become
// a reset that takes the last bytes with it.
const lingering = time.Second

// finish sends close_notify, with TLS, and FIN. Reading goes on, for as long as the edge lingers.
func finish(c net.Conn) {
	c.SetDeadline(time.Now().Add(lingering))
	if t, ok := c.(*tls.Conn); ok {
		t.CloseWrite()
		c = t.NetConn()
	}
	c.(*net.TCPConn).CloseWrite()
}

func (e *edge) connectH1(c net.Conn, br *bufio.Reader, req *http.Request) {
	r := newRequest(req.Method, strings.ToLower(req.RequestURI), "", req.Header)
	switch host, port, err := net.SplitHostPort(req.RequestURI); {
	case err != nil || host == "" || port == "" || strings.ContainsAny(req.RequestURI, "/?#@"), req.ContentLength > 0:
		e.endH1(c, r, e.answered(r, text(http.StatusBadRequest, "Bad Request")))
		return
	case len(req.TransferEncoding) > 0:
		e.endH1(c, r, e.answered(r, text(http.StatusNotImplemented, "Not Implemented")))
		return
	}
	up, rt, refusal := e.open(r)
	if refusal != nil {
		e.endH1(c, r, e.answered(r, refusal))
		return
	}
	defer up.Close()
	head := e.answered(r, &answer{status: http.StatusOK}).head(r, false)
	if rt.speaksFirst { // its first bytes share a write, and a TLS record, with the head
		first := make([]byte, 1024)
		n, _ := up.Read(first)
		head = append(head, first[:n]...)
	}
	if _, err := c.Write(head); err != nil {
		return
	}
	tunnelH1(c, br, up)
}

// tunnelH1 carries bytes both ways. The two ends are not alike (PROTOCOL.md 1.6): an end from the
// client is taken for a full close, nothing is flushed; an end or a reset from the destination
// lets what came before it through, and then the connection is closed, politely in both cases.
func tunnelH1(c net.Conn, br *bufio.Reader, up *net.TCPConn) {
	downEnded, upEnded := make(chan struct{}), make(chan struct{})
	go func() { // joined below
		defer close(upEnded)
		io.Copy(up, br)
		select {
		case <-downEnded:
			io.Copy(io.Discard, c)
		default:
			up.Close()
			c.Close()
		}
	}()
	io.Copy(c, up)
	close(downEnded)
	up.Close()
	finish(c)
	<-upEnded
}
