//go:build linux

package main

import (
	"context"
	"slices"
	"time"
)

// setUp opens tunnels one after the other, each when the one before it has ended and a short time has passed: as people do, and
// so that what is done ahead of time is done.
func setUp(ctx context.Context, b *bench, p path) error {
	tunnels, repeat := 20, b.repeat
	took := b.figure("new tunnel", p, "ms")
	switch {
	case p.oneWay > 0:
		tunnels, repeat = 3, min(repeat, 3)                                // they vary little
		took.goals = append(took.goals, goal{limit: 1.5 * ms(2*p.oneWay)}) // one round trip, and something for the work
	case p.proxy == "tinyproxy" || p.proxy == "microsocks":
		took.goals = append(took.goals, goal{limit: 20}) // no stall of 40 ms
	}
	spent := b.figure("new tunnel, CPU", p, "µs")
	switch {
	case p.proxy == "nghttpx":
		cheap := goal{limit: 1, of: overH1}
		took.goals, spent.goals = append(took.goals, cheap), append(spent.goals, cheap)
	case slices.Contains(rivals(p), naive):
		spent.goals = append(spent.goals, goal{limit: 0.35, of: naive})
	}
	if b.quick {
		tunnels = 3
	}
	f, err := b.field(ctx, p, rivals(p)...)
	if err != nil {
		return err
	}
	defer f.stop()
	for _, i := range f {
		if _, err := i.openAndLeave(p, 1); err != nil { // warm
			return err
		}
	}
	return f.inTurn(ctx, repeat, func(i *instance) error {
		before, err := i.cpu()
		if err != nil {
			return err
		}
		times, err := i.openAndLeave(p, tunnels)
		if err != nil {
			return err
		}
		after, err := i.cpu()
		if err != nil {
			return err
		}
		spent.add(i.name, float64(after-before)/float64(time.Microsecond)/float64(tunnels))
		took.add(i.name, median(times))
		return nil
	})
}

// openAndLeave opens tunnels one after the other; it returns how long each took to the destination's first byte, in ms.
func (i *instance) openAndLeave(p path, tunnels int) ([]float64, error) {
	var times []float64
	ended := make(chan error, tunnels)
	for range tunnels {
		conn, took, err := i.open()
		if err != nil {
			return nil, err
		}
		times = append(times, ms(took))
		go func() { ended <- leave(conn) }() // joined below
		time.Sleep(10*time.Millisecond + 8*p.oneWay)
	}
	for range tunnels {
		if err := <-ended; err != nil {
			return nil, err
		}
	}
	return times, nil
}
