package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/pomerium/pomerium-cli/internal/h2connect"
	"github.com/pomerium/pomerium-cli/internal/sock"
)

// InOrder selects the ways of each selector, one after the other: the later are
// for when those before cannot be reached. A selector that fails is passed over
// as long as another has a way; when none has, its error is the error.
func InOrder(selectors ...Selector) Selector {
	if len(selectors) == 1 {
		return selectors[0]
	}
	return inOrder(selectors)
}

type inOrder []Selector

func (all inOrder) Ways(ctx context.Context, target *url.URL) ([]Way, error) {
	var ways []Way
	var failed []error
	for _, s := range all {
		more, err := s.Ways(ctx, target)
		if err != nil {
			failed = append(failed, err)
		}
		ways = append(ways, more...)
	}
	if len(ways) == 0 && len(failed) > 0 {
		return nil, errors.Join(failed...)
	}
	for i := range ways {
		ways[i].passed = failed
	}
	return ways, nil
}

// walk tries the ways to target in their order until one succeeds, or comes to
// an answer: a proxy that can be reached and says no has decided, and the next
// is not asked. Nor is it when ctx has ended, or when try says that it is over.
func walk(ctx context.Context, s Selector, target *url.URL, try func(Way) (over bool, err error)) error {
	if s == nil {
		return errors.New("choosing the way out: there is no selector")
	}
	ways, err := s.Ways(ctx, target)
	if err != nil {
		return err
	}
	if len(ways) == 0 {
		return errors.New("choosing the way out: there is none for " + target.Host)
	}
	tried := slices.Clone(ways[0].passed)
	for i, way := range ways {
		over, err := try(way)
		if err == nil {
			way.report(true)
			return nil
		}
		tried = append(tried, err)
		if over || ctx.Err() != nil || !way.Unreached(err) {
			break
		}
		way.report(false)
		if i+1 < len(ways) {
			way.log().WarnContext(ctx, "this way out leads nowhere, trying the next", "next", ways[i+1].String(), "err", err)
		}
	}
	if len(tried) == 1 {
		return tried[0]
	}
	return &TriedError{Tried: tried}
}

// TriedError says that several ways were tried in vain.
type TriedError struct {
	Tried []error // what stopped at each, in the order in which they were tried
}

func (e *TriedError) Error() string {
	said := make([]string, len(e.Tried))
	for i, err := range e.Tried {
		said[i] = err.Error()
	}
	return fmt.Sprintf("none of %d ways leads out: %s", len(said), strings.Join(said, "; "))
}

// Unwrap returns the errors, the last first: it ended the search.
func (e *TriedError) Unwrap() []error {
	last := slices.Clone(e.Tried)
	slices.Reverse(last)
	return last
}

// Unreached says whether err, of this way's DialContext, means that the way could not be gone to its last
// proxy, rather than that this proxy, or the target behind it, said no. A
// direct way has no proxy that could answer: whatever stops the dial, the next
// may be better. It is the rule by which [Dial] and [Transport] go on to the next.
func (w Way) Unreached(err error) bool {
	var failed *Error
	if !errors.As(err, &failed) {
		return len(w.Hops) == 0 && errors.As(err, new(*DirectError))
	}
	switch {
	case failed.Op == OpDial && errors.Is(failed.Err, errScheme):
		return false
	case failed.Op == OpDial, failed.Op == OpTLS:
		return true
	case failed.Op == OpConnect && len(w.Hops) > 0 && failed.Hop != w.Hops[len(w.Hops)-1].String():
		return true // the proxy before did not get to this one
	}
	return failed.Op == OpConnect && failed.Status == 0 && silent(failed.Err)
}

// silent says whether a connection ended without a word.
func silent(err error) bool {
	var late net.Error
	return errors.As(err, &late) && late.Timeout() || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, sock.ErrReset) || errors.Is(err, sock.ErrBroken) || errors.Is(err, h2connect.ErrDeadPath)
}
