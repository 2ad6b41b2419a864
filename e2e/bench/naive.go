//go:build linux

package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
)

// A plain is one of the two tunnels that this program is itself, as a child process, to compare with: what one writes in an
// hour. With an edge it is "naive": CONNECT through the proxy, TLS, CONNECT to the edge, io.Copy both ways. Without one it is
// "relay": through the proxy to the destination in clear text, which is the least that any tunnel has to do.
type plain struct {
	proxy       *url.URL
	edge        string // host:port, or empty
	destination string
	token       string
	tls         *tls.Config
}

// runPlain is the child process; it ends with its parent's signal.
func runPlain(args []string) error {
	flags := flag.NewFlagSet("plain", flag.ExitOnError)
	proxy := flags.String("proxy", "", "URL of the forward proxy: http or socks5")
	edge := flags.String("edge", "", "host:port of the edge")
	ca := flags.String("ca", "", "file of the CA of the edge's certificate")
	destination := flags.String("destination", "", "host:port")
	token := flags.String("token", "", "")
	flags.Parse(args)
	p := &plain{edge: *edge, destination: *destination, token: *token}
	var err error
	if p.proxy, err = url.Parse(*proxy); err != nil {
		return err
	}
	if p.edge != "" {
		pem, err := os.ReadFile(*ca)
		if err != nil {
			return err
		}
		host, _, _ := net.SplitHostPort(p.edge)
		p.tls = &tls.Config{ServerName: host, RootCAs: x509.NewCertPool()}
		p.tls.RootCAs.AppendCertsFromPEM(pem)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "listening on", ln.Addr())
	for {
		local, err := ln.Accept()
		if err != nil {
			return err
		}
		go p.serve(local.(*net.TCPConn))
	}
}

type closeWriter interface {
	net.Conn
	CloseWrite() error
}

func (p *plain) serve(local *net.TCPConn) {
	defer local.Close()
	remote, early, err := p.dial()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		local.SetLinger(0)
		return
	}
	defer remote.Close()
	up := make(chan struct{})
	go func() {
		defer close(up)
		io.Copy(remote, local) // its buffer has 32 KiB, as that of the next one
		remote.CloseWrite()
	}()
	local.Write(early)
	io.Copy(local, remote)
	local.CloseWrite()
	<-up
}

// dial opens a tunnel; early is what came together with the last answer.
func (p *plain) dial() (_ closeWriter, early []byte, err error) {
	conn, err := net.Dial("tcp", p.proxy.Host)
	if err != nil {
		return nil, nil, err
	}
	to := p.destination
	if p.edge != "" {
		to = p.edge
	}
	if p.proxy.Scheme == "http" {
		early, err = connect(conn, to, "")
	} else {
		err = socks(conn, to)
	}
	if err != nil || p.edge == "" {
		return conn.(*net.TCPConn), early, err
	}
	secure := tls.Client(conn, p.tls)
	early, err = connect(secure, p.destination, "Authorization: Pomerium "+p.token+"\r\n")
	return secure, early, err
}

// connect asks for a tunnel with CONNECT.
func connect(conn net.Conn, to, header string) (early []byte, err error) {
	if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n%s\r\n", to, header); err != nil {
		return nil, err
	}
	var answer []byte
	for buf := make([]byte, 4096); ; {
		n, err := conn.Read(buf)
		answer = append(answer, buf[:n]...)
		if head, rest, whole := bytes.Cut(answer, []byte("\r\n\r\n")); whole {
			if status := strings.Fields(string(head)); len(status) < 2 || status[1] != "200" {
				return nil, fmt.Errorf("CONNECT %s: %.40q", to, head)
			}
			return rest, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// socks asks for a tunnel with SOCKS5 (RFC 1928), without a password.
func socks(conn net.Conn, to string) error {
	host, service, err := net.SplitHostPort(to)
	if err != nil {
		return err
	}
	port, err := net.LookupPort("tcp", service)
	if err != nil {
		return err
	}
	if _, err := conn.Write([]byte{5, 1, 0}); err != nil {
		return err
	}
	answer := make([]byte, 10)
	if _, err := io.ReadFull(conn, answer[:2]); err != nil {
		return err
	}
	request := append([]byte{5, 1, 0, 3, byte(len(host))}, host...)
	if _, err := conn.Write(append(request, byte(port>>8), byte(port))); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, answer); err != nil { // an IPv4 address comes back
		return err
	}
	if answer[1] != 0 {
		return errors.New("the SOCKS proxy refused")
	}
	return nil
}
