//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pomerium/pomerium-cli/e2e/world"
)

// The ground is where contenders meet: the real parts of package world, a target behind the edge, and a gate to the contenders.
type ground struct {
	*world.World
	binary, self string // programs: the one that is measured, and this one
	gate         *gate
	proxies      map[string]*world.Proxy
	port         int      // the last one that was given to a contender
	env          []string // of who is measured
	kdc          *world.KDC
}

func newGround(ctx context.Context, binary string) (*ground, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w, err := world.Start(ctx)
	if err != nil {
		return nil, err
	}
	g := &ground{World: w, binary: binary, self: self, proxies: map[string]*world.Proxy{}, port: 20000}
	g.env = append(os.Environ(), "HOME="+g.Dir, "XDG_CACHE_HOME="+g.Dir)
	ln, err := w.EdgeHost.Listen("tcp", world.BenchAddr)
	if err != nil {
		return nil, errors.Join(err, g.close())
	}
	go target(ln) // ended with the process
	if g.gate, err = openGate(w.UserHost); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

func (g *ground) close() error {
	if g.gate != nil {
		g.gate.Close()
	}
	g.World.Close()
	return nil
}

// proxy is the forward proxy of a path.
func (g *ground) proxy(ctx context.Context, p path) (_ *world.Proxy, err error) {
	key := p.proxy + p.oneWay.String()
	if g.proxies[key] == nil {
		if err := g.login(ctx, p.proxy); err != nil {
			return nil, err
		}
		if p.oneWay > 0 {
			g.proxies[key], err = g.Far(ctx, p.proxy, p.oneWay)
		} else {
			g.proxies[key], err = g.Proxy(ctx, p.proxy)
		}
	}
	return g.proxies[key], err
}

// start runs a contender and waits until it listens; nil if it cannot take the path.
func (g *ground) start(ctx context.Context, c contender, p path) (*instance, error) {
	via, err := g.proxy(ctx, p)
	if err != nil {
		return nil, err
	}
	g.port++
	args := c.command(g, p, via, g.port)
	if args == nil {
		return nil, nil
	}
	i := &instance{ground: g, name: c.name, port: g.port, cmd: exec.Command(args[0], args[1:]...)}
	i.cmd.Env = g.env
	stderr, err := i.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := g.UserHost.Start(i.cmd); err != nil {
		return nil, err
	}
	if c.tells {
		i.port, err = told(stderr)
	} else {
		err = g.awaitListener(i.port)
	}
	if err != nil {
		i.stop()
		return nil, fmt.Errorf("%s: %w", strings.Join(args, " "), err)
	}
	go io.Copy(os.Stderr, stderr) // ended by stop
	return i, nil
}

// told reads the port out of the first line that has one.
func told(stderr io.Reader) (int, error) {
	var all strings.Builder
	for lines := bufio.NewReader(stderr); ; {
		line, err := lines.ReadString('\n')
		if all.WriteString(line); err != nil {
			return 0, fmt.Errorf("it does not listen: %s", all.String())
		}
		if _, rest, found := strings.Cut(line, "listening on "); found {
			_, port, err := net.SplitHostPort(strings.Fields(rest)[0])
			if err != nil {
				return 0, err
			}
			return strconv.Atoi(port)
		}
	}
}

// awaitListener waits for a contender that does not tell when it listens, without connecting, which it would take for a client.
func (g *ground) awaitListener(port int) error {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		for _, family := range []string{"tcp", "tcp6"} {
			table, err := g.UserHost.NetFile(family)
			if err != nil {
				return err
			}
			for _, line := range strings.Split(string(table), "\n") {
				const listen = "0A"
				fields := strings.Fields(line)
				if len(fields) > 3 && fields[3] == listen && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) {
					return nil
				}
			}
		}
	}
	return fmt.Errorf("nothing listens on port %d", port)
}

func kill(pid int) { syscall.Kill(pid, syscall.SIGKILL) }
