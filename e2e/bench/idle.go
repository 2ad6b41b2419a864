//go:build linux

package main

import (
	"context"
	"errors"
	"net"
	"time"
)

// idle measures how a process grows with 500 tunnels, each of which has carried a little and then rests.
func idle(ctx context.Context, b *bench, p path) error {
	tunnels := 500
	if b.quick {
		tunnels = 50
	}
	others := []string{naive}
	limit := 10.0
	if p.protocol == "h1" {
		limit, others = 24, []string{naive, relay, proxytunnel}
	}
	goals := []goal{{limit: limit}}
	if p.proxy == "nghttpx" { // TLS in TLS
		others, goals = []string{overH1}, []goal{{limit: 1, of: overH1}}
	}
	grown := b.figure("memory for an idle tunnel, of 500", p, "KiB", goals...)
	errs := []error{b.grow(ctx, grown, p, contenders[ours], tunnels)}
	for _, name := range others {
		errs = append(errs, b.grow(ctx, grown, p, contenders[name], tunnels))
	}
	if p.protocol == "h2" {
		alone := b.figure("memory for an idle tunnel, of 500, each on its connection", p, "KiB", goal{limit: 24})
		errs = append(errs, b.grow(ctx, alone, p, contenders[ours].with("--max-connections", "500"), tunnels))
	}
	return errors.Join(errs...)
}

func (b *bench) grow(ctx context.Context, grown *figure, p path, c contender, tunnels int) error {
	repeat := min(b.repeat, 2) // it varies little
	if c.name == proxytunnel {
		repeat = 1
	}
	for range repeat {
		i, err := b.start(ctx, c, p)
		if err != nil {
			return err
		}
		kib, err := i.grow(p, tunnels)
		i.stop()
		if err != nil {
			return err
		}
		grown.add(c.name, kib)
	}
	return nil
}

// grow opens tunnels and returns by how many KiB each has made the process larger, after a rest.
func (i *instance) grow(p path, tunnels int) (float64, error) {
	const rest = 3 * time.Second
	if _, err := i.openAndLeave(p, 1); err != nil {
		return 0, err
	}
	before, err := i.memory()
	if err != nil {
		return 0, err
	}
	conns := make([]*net.TCPConn, 0, tunnels)
	defer func() {
		for _, conn := range conns {
			conn.Close()
		}
	}()
	for range tunnels {
		conn, _, err := i.open()
		if err != nil {
			return 0, err
		}
		conns = append(conns, conn)
	}
	time.Sleep(rest)
	after, err := i.memory()
	return float64(after-before) / 1024 / float64(tunnels), err
}
