//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"time"

	"github.com/pomerium/pomerium-cli/e2e/world"
)

// A path is the way from a contender to the edge.
type path struct {
	proxy    string        // kind of forward proxy, as package world names them
	protocol string        // ours with the edge: h1 or h2; the others speak HTTP/1.1 with it, or do not know it
	oneWay   time.Duration // between the user's host and the proxy
}

func (p path) String() string {
	s := p.proxy + " " + p.protocol
	if p.oneWay > 0 {
		s += fmt.Sprintf(" %v", 2*p.oneWay)
	}
	return s
}

// A contender is a program that opens tunnels.
type contender struct {
	name string
	// command is how it is run to listen at port; nil where it cannot take the path. Who tells its port may choose another.
	command func(g *ground, p path, via *world.Proxy, port int) []string
	tells   bool // with "listening on", on standard error
}

// Names of the contenders, as the table's columns.
const (
	ours        = "pomerium-cli"
	naive       = "naive"
	relay       = "relay"
	proxytunnel = "proxytunnel"
	socat       = "socat"
	overH1      = "h1 to proxy"          // ours, to a proxy that is the same but for HTTP/2
	insists     = "--forward-proxy-auth" // ours, which is told the scheme
	curl        = "curl"                 // one request, where a process has one tunnel; it trusts whom ours trusts
	curlAlone   = "curl, 1 CA"           // the same, but it reads the edge's authority alone
)

var contenders = map[string]contender{
	ours: {ours, func(g *ground, p path, via *world.Proxy, _ int) []string { return g.program(p, via) }, true},
	overH1: {overH1, func(g *ground, p path, _ *world.Proxy, _ int) []string {
		p.proxy += "-h1"
		via, err := g.proxy(context.Background(), p)
		if err != nil {
			return nil
		}
		return g.program(p, via)
	}, true},
	naive: {naive, func(g *ground, p path, via *world.Proxy, _ int) []string {
		return []string{g.self, plainCommand, "-edge", edgeHost, "-ca", g.CA.CA, "-token", world.GoodToken,
			"-proxy", via.URL.String(), "-destination", world.Bench}
	}, true},
	relay: {relay, func(g *ground, p path, via *world.Proxy, _ int) []string {
		return []string{g.self, plainCommand, "-proxy", via.URL.String(), "-destination", world.BenchAddr}
	}, true},
	// It goes through two HTTP proxies, of which the edge is the second; through SOCKS it cannot. It tells the token to both.
	proxytunnel: {proxytunnel, func(g *ground, p path, via *world.Proxy, port int) []string {
		if via.URL.Scheme != "http" {
			return nil
		}
		return []string{"proxytunnel", "-q", "-a", fmt.Sprint(port), "-p", via.URL.Host, "-r", edgeHost, "-X", "-C", g.CA.CA,
			"-d", world.Bench, "-H", "Authorization: Pomerium " + world.GoodToken}
	}, false},
	// It speaks one proxy's protocol at a time, so that it is a relay here, without the edge.
	socat: {socat, func(g *ground, p path, via *world.Proxy, port int) []string {
		remote := fmt.Sprintf("PROXY:%s:%s,proxyport=%s", via.URL.Hostname(), world.BenchAddr, via.URL.Port())
		if via.URL.Scheme != "http" {
			remote = fmt.Sprintf("SOCKS4:%s:%s,socksport=%s", via.URL.Hostname(), world.BenchAddr, via.URL.Port())
		}
		return []string{"socat", fmt.Sprintf("TCP-LISTEN:%d,bind=127.0.0.1,reuseaddr,fork,backlog=128", port), remote}
	}, false},
}

// program is how the program that is measured is run.
func (g *ground) program(p path, via *world.Proxy) []string {
	args := []string{g.binary, "tcp", world.Bench, "--pomerium-url", world.EdgeURL, "--alternate-ca-path", g.CA.CA,
		"--forward-proxy", via.URL.String(), "--protocol", p.protocol, "--service-account", world.GoodToken}
	if via.URL.Scheme == "https" {
		args = append(args, "--forward-proxy-ca-path", via.CA)
	}
	return args
}

const edgeHost = world.EdgeName + ":8443"

// with is the contender with more arguments.
func (c contender) with(args ...string) contender {
	command := c.command
	c.command = func(g *ground, p path, via *world.Proxy, port int) []string {
		return append(command(g, p, via, port), args...)
	}
	return c
}

// An instance is a contender that runs on the user's host and listens.
type instance struct {
	ground *ground
	name   string
	port   int
	cmd    *exec.Cmd
}

// open opens a tunnel and returns how long it took to the destination's first byte; then another has been asked for and has come.
// The request goes out at once: proxytunnel does not see what arrives right behind the edge's answer until more does.
func (i *instance) open() (*net.TCPConn, time.Duration, error) {
	start := time.Now()
	conn, err := i.ground.gate.Dial(i.port)
	if err != nil {
		return nil, 0, err
	}
	conn.SetDeadline(start.Add(patience))
	var one [1]byte
	fmt.Fprintf(conn, "%s 1\n", sayDown) // if this fails, so does reading
	_, err = io.ReadFull(conn, one[:])
	took := time.Since(start)
	if err == nil {
		_, err = io.ReadFull(conn, one[:])
	}
	if err != nil {
		conn.Close()
		return nil, 0, fmt.Errorf("%s: waiting for the destination's first bytes: %w", i.name, err)
	}
	return conn, took, nil
}

// patience is how long a tunnel may exist.
const patience = 30 * time.Second

// leave has the destination end a tunnel, and waits for that: then no contender has to guess whether we are still there. On
// HTTP/1.1 it takes a second, for which Envoy holds a connection after its end.
func leave(conn *net.TCPConn) error {
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "%s 0\n", sayLast); err != nil {
		return err
	}
	return drain(conn)
}

// leaveAll leaves those tunnels that were opened.
func leaveAll(conns []*net.TCPConn) {
	atOnce(len(conns), func(n int) error { // an error has no meaning for what was measured before
		if conns[n] == nil {
			return nil
		}
		return leave(conns[n])
	})
}

func (i *instance) cpu() (time.Duration, error) { return cpu(i.cmd.Process.Pid) }

func (i *instance) memory() (int64, error) { return memory(i.cmd.Process.Pid) }

// stop ends the instance with all its children.
func (i *instance) stop() {
	for _, child := range children(i.cmd.Process.Pid) {
		kill(child)
	}
	i.cmd.Process.Kill()
	i.cmd.Wait() // its exit status says nothing
}
