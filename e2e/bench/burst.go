//go:build linux

package main

import (
	"context"
	"errors"
	"net"
	"time"
)

// burst opens 64 tunnels at once, as a browser or a parallel build does: first in a process that has had none, then once more.
func burst(ctx context.Context, b *bench, p path) error {
	const tunnels = 64
	names := []string{ours, naive}
	goals := []goal{{limit: 0.6, of: naive}}
	switch {
	case p.proxy == "nghttpx":
		names, goals = rivals(p), []goal{{limit: 1, of: overH1}}
	case p.proxy == "squid" && p.oneWay == 0:
		names = append(names, proxytunnel)
		goals = append(goals, goal{limit: 0.2, of: proxytunnel})
	}
	first := b.figure("64 tunnels at once, in a fresh process", p, "ms", goals...)
	spent := b.figure("64 tunnels at once, in a fresh process, CPU", p, "ms")
	next := b.figure("64 tunnels at once, the second time", p, "ms", goals...)
	var errs []error
	for range min(b.repeat, 3) { // each is a process of its own, and takes long to clear
		f, err := b.field(ctx, p, names...)
		if err != nil {
			return err
		}
		errs = append(errs, f.inTurn(ctx, 1, func(i *instance) error {
			before, err := i.cpu()
			if err != nil {
				return err
			}
			took, err := i.burst(tunnels)
			if err != nil {
				return err
			}
			after, err := i.cpu()
			if err != nil {
				return err
			}
			first.add(i.name, ms(took))
			spent.add(i.name, ms(after-before))
			time.Sleep(200*time.Millisecond + 8*p.oneWay)
			if took, err = i.burst(tunnels); err != nil {
				return err
			}
			next.add(i.name, ms(took))
			return nil
		}))
		f.stop()
	}
	return errors.Join(errs...)
}

// burst opens tunnels at once, measures the time until all have answered, and has them ended.
func (i *instance) burst(tunnels int) (time.Duration, error) {
	conns := make([]*net.TCPConn, tunnels)
	defer leaveAll(conns)
	start := time.Now()
	err := atOnce(tunnels, func(n int) (err error) {
		conns[n], _, err = i.open()
		return err
	})
	return time.Since(start), err
}
