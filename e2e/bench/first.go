//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/pomerium/pomerium-cli/e2e/world"
)

// askers are proxies of one product, each of which wants another authentication; the first wants none.
var askers = []string{"squid", "squid-basic", "squid-digest", "squid-ntlm", "squid-negotiate"}

// schemes are what they ask for. curl has to know beforehand; ours may.
var schemes = map[string]string{"squid-basic": "basic", "squid-digest": "digest", "squid-ntlm": "ntlm", "squid-negotiate": "negotiate"}

// first runs a process for one tunnel, as ssh does, and one curl for one request through the same proxy.
func first(ctx context.Context, b *bench, p path) error {
	via, err := b.proxy(ctx, p)
	if err != nil {
		return err
	}
	if p.proxy != "squid-negotiate" {
		return b.first(ctx, "first tunnel of a process", p, via, func() ([]string, error) { return b.env, nil })
	}
	return errors.Join(
		b.first(ctx, "first tunnel of a process, ticket in the cache", p, via, func() ([]string, error) { return b.env, nil }),
		b.first(ctx, "first tunnel of a process, ticket from the KDC", p, via, b.firstTicket))
}

// first has both run in turn, each time in an environment of its own.
func (b *bench) first(ctx context.Context, what string, p path, via *world.Proxy, env func() ([]string, error)) error {
	if err := b.trustAll(); err != nil {
		return err
	}
	took := b.figure(what, p, "ms", goal{of: curl}, goal{of: curlAlone})
	spent := b.figure(what+", CPU", p, "ms", goal{of: curl}, goal{of: curlAlone})
	own := append(b.program(p, via), "--listen", "-")
	repeat := 5 * b.repeat
	if p.oneWay > 0 || b.quick {
		repeat = b.repeat
	}
	for n := range 1 + repeat {
		for _, c := range []struct {
			name, stdin string
			args        []string
		}{
			{curl, "", b.curl(p, via, b.authorities())}, // before ours: it puts a ticket that it has got into the cache
			{curlAlone, "", b.curl(p, via, b.CA.CA)},
			{ours, sayLast + " 0\n", own},
			{insists, sayLast + " 0\n", append(own[:len(own):len(own)], "--forward-proxy-auth", schemes[p.proxy])},
		} {
			if c.name == insists && schemes[p.proxy] == "" {
				continue
			}
			with, err := env()
			if err != nil {
				return err
			}
			byteAt, used, err := b.once(ctx, with, c.stdin, c.args)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if n > 0 { // the first is for the caches of all parts
				took.add(c.name, ms(byteAt))
				spent.add(c.name, ms(used))
			}
		}
	}
	return nil
}

// curl asks the edge, over TLS through the proxy, for something that it answers from behind.
func (b *bench) curl(p path, via *world.Proxy, authorities string) []string {
	args := []string{"curl", "--disable", "--silent", "--show-error", "--fail", "--no-buffer", "--cacert", authorities,
		"--proxy", "http://" + via.URL.Host, "--proxytunnel", "--header", "Authorization: Pomerium " + world.GoodToken}
	if scheme := schemes[p.proxy]; scheme != "" {
		user := ":" // whom the ticket says
		if via.URL.User != nil {
			user = via.URL.User.String() // curl decodes it
		}
		args = append(args, "--proxy-"+scheme, "--proxy-user", user)
	}
	return append(args, world.EdgeURL+"/.pomerium/user")
}

// trustAll has curl trust whom ours does with --alternate-ca-path: the system's authorities besides the edge's.
func (b *bench) trustAll() error {
	system, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	edge, err := os.ReadFile(b.CA.CA)
	if err != nil {
		return err
	}
	return os.WriteFile(b.authorities(), append(system, edge...), 0o644)
}

func (b *bench) authorities() string { return filepath.Join(b.Dir, "authorities.pem") }

// once runs a program on the user's host to its end. It measures the time from its execution to the first byte on its standard
// output, and all its CPU time.
func (b *bench) once(ctx context.Context, env []string, stdin string, args []string) (byteAt, used time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, w, err := os.Pipe()
	if err != nil {
		return 0, 0, err
	}
	defer r.Close()
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, strings.NewReader(stdin), w, &said
	begin, err := b.UserHost.StartTimed(cmd)
	w.Close()
	if err != nil {
		return 0, 0, err
	}
	_, err = io.ReadFull(r, make([]byte, 1))
	byteAt = time.Since(begin)
	io.Copy(io.Discard, r)
	if err = errors.Join(err, cmd.Wait()); err != nil {
		return 0, 0, fmt.Errorf("%w\n%s", err, said.Bytes())
	}
	return byteAt, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// login gets the user what a proxy wants to see and no URL can say: a ticket.
func (g *ground) login(ctx context.Context, proxy string) (err error) {
	if proxy != "squid-negotiate" || g.kdc != nil {
		return nil
	}
	if g.kdc, err = g.KDC(ctx); err != nil {
		return err
	}
	g.env = append(g.env, "KRB5_CONFIG="+g.kdc.Conf, "KRB5CCNAME=FILE:"+g.tickets("cache"))
	return errors.Join(g.Kinit(ctx, g.kdc, g.tickets("cache"), "1h"), g.Kinit(ctx, g.kdc, g.tickets("first"), "1h"))
}

// firstTicket is the environment of somebody who has logged on and done nothing since.
func (g *ground) firstTicket() ([]string, error) {
	ticket, err := os.ReadFile(g.tickets("first"))
	if err != nil {
		return nil, err
	}
	fresh := g.tickets("fresh")
	return append(g.env[:len(g.env):len(g.env)], "KRB5CCNAME=FILE:"+fresh), os.WriteFile(fresh, ticket, 0o600)
}

func (g *ground) tickets(name string) string { return filepath.Join(g.Dir, "tickets-"+name) }
