package cli

import "errors"

// The codes that the program exits with. A script may rely on them.
const (
	exitDone   = 0 // done, or stopped by the user
	exitFailed = 1 // anything without a code of its own
	exitUsage  = 2 // wrong usage: nothing was opened
	exitProxy  = 3 // the forward proxy refused, or could not be reached
	exitSignIn = 4 // sign-in is needed, or failed
	exitEdge   = 5 // the edge refused: forbidden, or no such route
)

// exits is tried from top to bottom; an error that none of them knows is exitFailed.
var exits = []struct {
	code int
	is   func(error) bool
}{
	{exitUsage, isUsage},
}

// exitCode picks the code for an error.
func exitCode(err error) int {
	for _, e := range exits {
		if e.is(err) {
			return e.code
		}
	}
	return exitFailed
}

func isUsage(err error) bool {
	return is[*usageError](err) || is[*unknownCommand](err) || is[*Refusal](err)
}

// is reports whether an error of type E is in err's chain.
func is[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}
