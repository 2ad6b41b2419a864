//go:build linux

package main

import (
	"context"
	"errors"
	"slices"
	"time"
)

const far = 20 * time.Millisecond // one way

// experiments are all there are, in the order of the table.
func experiments() []experiment {
	list := []experiment{{"start", startUp}}
	add := func(kind string, p path, run func(context.Context, *bench, path) error) {
		list = append(list, experiment{kind + " " + p.String(), func(ctx context.Context, b *bench) error { return run(ctx, b, p) }})
	}
	paths := func(oneWay time.Duration, proxies ...string) (all []path) {
		for _, proxy := range proxies {
			all = append(all, path{proxy, "h2", oneWay}, path{proxy, "h1", oneWay})
		}
		return all
	}
	for _, p := range append(paths(0, "squid", "dante", "tinyproxy", "microsocks"), paths(far, "squid", "dante")...) {
		add("setup", p, setUp)
	}
	for _, p := range append(paths(0, "squid", "dante"), paths(far, "squid")...) {
		add("burst", p, burst)
	}
	for _, p := range append(paths(0, "nghttpx"), paths(far, "nghttpx")...) {
		add("setup", p, setUp)
		add("burst", p, burst)
	}
	for _, proxy := range askers {
		add("first", path{proxy, "h2", 0}, first)
		add("first", path{proxy, "h2", far}, first)
		if proxy != "squid" {
			add("setup", path{proxy, "h1", 0}, setUp)
		}
	}
	for _, p := range append(paths(0, "squid", "dante"), paths(far, "squid")...) {
		add("bulk", p, bulk)
	}
	for _, p := range append(paths(0, "squid"), path{proxy: "nghttpx", protocol: "h1"}) {
		add("idle", p, idle)
	}
	for _, p := range paths(0, "squid", "dante") {
		add("halfclose", p, halfClose)
	}
	for _, p := range paths(0, "squid") {
		add("slow", p, slow)
	}
	return list
}

// A field is a number of contenders that have been started on one path.
type field []*instance

// rivals are who is measured on a path. Those that do not know the edge's protocols are measured once, on the path that most take.
func rivals(p path) []string {
	switch {
	case p == (path{proxy: "squid", protocol: "h1"}):
		return []string{ours, naive, proxytunnel, relay, socat}
	case p.proxy == "nghttpx":
		return []string{ours, overH1}
	case p.proxy != "squid" && slices.Contains(askers, p.proxy):
		return []string{ours}
	}
	return []string{ours, naive}
}

// field starts contenders. Those that cannot take the path are not in it.
func (b *bench) field(ctx context.Context, p path, names ...string) (field, error) {
	var f field
	for _, name := range names {
		i, err := b.start(ctx, contenders[name], p)
		if err != nil {
			f.stop()
			return nil, err
		}
		if i != nil {
			f = append(f, i)
		}
	}
	return f, nil
}

func (f field) stop() {
	for _, i := range f {
		i.stop()
	}
}

// inTurn lets each do the same, as often as the bench repeats. One that fails is left out from then on.
func (f field) inTurn(ctx context.Context, repeat int, do func(*instance) error) error {
	var errs []error
	failed := map[*instance]bool{}
	for range repeat {
		for _, i := range f {
			if failed[i] || ctx.Err() != nil {
				continue
			}
			if err := do(i); err != nil {
				failed[i] = true
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// atOnce calls do n times at the same time.
func atOnce(n int, do func(i int) error) error {
	results := make(chan error)
	for i := range n {
		go func() { results <- do(i) }() // joined below
	}
	var errs []error
	for range n {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}
