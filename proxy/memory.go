package proxy

import (
	"context"
	"net/url"
	"slices"
	"sync"
	"time"
)

// DeadFor is how long a way that could not be reached comes after the others.
const DeadFor = 5 * time.Minute

// Memory knows which ways could not be reached lately. A way is named as its
// String says, without user and password. It is used by many goroutines.
type Memory interface {
	Dead(way string) bool
	Report(way string, reached bool)
}

// Remembering selects the ways of s, those that are dead to m last, otherwise
// in their order: when all are dead, the first is tried first. [Dial] and
// [Transport] tell m how each way went. It does nothing where s has one way. A
// direct way is never dead. m may be nil: what this selector has seen itself.
func Remembering(s Selector, m Memory) Selector {
	if m == nil {
		m = &lately{until: make(map[string]time.Time)}
	}
	return remembering{s, m}
}

type remembering struct {
	Selector
	memory Memory
}

func (r remembering) Ways(ctx context.Context, target *url.URL) ([]Way, error) {
	ways, err := r.Selector.Ways(ctx, target)
	if err != nil || len(ways) < 2 {
		return ways, err
	}
	ways = slices.Clone(ways)
	dead := make([]int, len(ways))
	order := make([]int, len(ways))
	for i := range ways {
		ways[i].memory = r.memory
		order[i] = i
		if len(ways[i].Hops) > 0 && r.memory.Dead(ways[i].String()) {
			dead[i] = 1
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return dead[a] - dead[b] })
	sorted := make([]Way, len(ways))
	for i, from := range order {
		sorted[i] = ways[from]
	}
	return sorted, nil
}

// report tells the memory how the way went.
func (w Way) report(reached bool) {
	if w.memory != nil && len(w.Hops) > 0 {
		w.memory.Report(w.String(), reached)
	}
}

// lately is a Memory that ends with its selector.
type lately struct {
	mu    sync.Mutex
	until map[string]time.Time
}

func (l *lately) Dead(way string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Now().Before(l.until[way])
}

func (l *lately) Report(way string, reached bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if reached {
		delete(l.until, way)
		return
	}
	l.until[way] = time.Now().Add(DeadFor)
}
