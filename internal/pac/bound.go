package pac

import (
	"context"
	"errors"
	"fmt"
	"runtime/metrics"
	"time"
)

// Bounds of a run.
const (
	runTimeout   = 2 * time.Second
	maxTimeout   = 10 * time.Second
	maxCalls     = 1000      // deep
	maxHeap      = 256 << 20 // bytes that the process may grow by
	heapInterval = 10 * time.Millisecond
	grace        = 500 * time.Millisecond // for work that was told to stop
)

var errMemory = fmt.Errorf("took more than %d MiB of memory", maxHeap>>20)

// bounded does the work in a goroutine and waits for it, which is the usual
// case. When time or memory runs out, stop is told why. Work that goes on all
// the same is left to itself after the grace: nothing else could end it, and
// whoever asked must not wait for ever.
func bounded(ctx context.Context, timeout time.Duration, work func(context.Context) error, stop func(why error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not done in %v", timeout))
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- recovered(ctx, work) }()

	look := time.NewTicker(heapInterval)
	defer look.Stop()
	before := heap()
	var why error
	ended, looks, left := ctx.Done(), look.C, (<-chan time.Time)(nil)
	for {
		select {
		case err := <-done:
			return err
		case <-ended:
			why = context.Cause(ctx)
		case <-looks:
			if heap() <= before+maxHeap {
				continue
			}
			why = errMemory
		case <-left:
			return fmt.Errorf("%w, and could not be stopped", why)
		}
		stop(why)
		ended, looks, left = nil, nil, time.After(grace)
	}
}

// recovered turns a panic of the interpreter into an error: goja panics where
// an interrupted script words its own exception, and where memory cannot be had.
func recovered(ctx context.Context, work func(context.Context) error) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case error:
			err = thrown(r)
		default:
			err = errors.New(printable(fmt.Sprint("the interpreter broke: ", r)))
		}
	}()
	return work(ctx)
}

// heap is how much memory the process has in use, in bytes.
func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
