//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// bulk moves bytes down and up, on one tunnel and on eight at once, which stay open for all repetitions.
func bulk(ctx context.Context, b *bench, p path) error {
	errs := []error{b.bulk(ctx, p, 1, 0.8)}
	if p.oneWay == 0 {
		errs = append(errs, b.bulk(ctx, p, 8, 1))
	}
	return errors.Join(errs...)
}

// bulk has a number of tunnels share the work; limit is for the CPU time, in proportion to naive's.
func (b *bench) bulk(ctx context.Context, p path, tunnels int, limit float64) error {
	f, err := b.field(ctx, p, rivals(p)...)
	if err != nil {
		return err
	}
	defer f.stop()
	conns := map[*instance][]*net.TCPConn{}
	for _, i := range f {
		for range tunnels {
			conn, _, err := i.open()
			if err != nil {
				return err
			}
			conn.SetDeadline(time.Time{})
			conns[i] = append(conns[i], conn)
		}
	}
	size := int64(256 << 20)
	if b.quick {
		size = 64 << 20
	}
	for _, direction := range []string{sayDown, sayUp} {
		what := fmt.Sprintf("throughput %s, %d at once", direction, tunnels)
		rate := b.figure(what, p, "MB/s", goal{limit: 1, of: naive, least: true})
		spent := b.figure(what+", CPU", p, "ms/GB", goal{limit: limit, of: naive})
		err := f.inTurn(ctx, b.repeat, func(i *instance) error {
			took, used, err := i.move(conns[i], direction, size/int64(tunnels))
			if err != nil {
				return err
			}
			rate.add(i.name, float64(size)/1e6/took.Seconds())
			spent.add(i.name, ms(used)/(float64(size)/1e9))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// move has each tunnel move size bytes; it measures the time and the CPU time of that.
func (i *instance) move(conns []*net.TCPConn, direction string, size int64) (took, used time.Duration, err error) {
	before, err := i.cpu()
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	err = atOnce(len(conns), func(n int) error {
		if _, err := fmt.Fprintf(conns[n], "%s %d\n", direction, size); err != nil {
			return err
		}
		if direction == sayDown {
			return take(conns[n], size)
		}
		if err := send(conns[n], size); err != nil {
			return err
		}
		return take(conns[n], 1)
	})
	took = time.Since(start)
	if err != nil {
		return 0, 0, fmt.Errorf("%s, %s: %w", i.name, direction, err)
	}
	after, err := i.cpu()
	return took, after - before, err
}
