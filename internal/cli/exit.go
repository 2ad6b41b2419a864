package cli

import (
	"errors"

	"github.com/pomerium/pomerium-cli/internal/edge"
	"github.com/pomerium/pomerium-cli/internal/listen"
	"github.com/pomerium/pomerium-cli/internal/login"
	"github.com/pomerium/pomerium-cli/proxy"
)

// The codes that the program exits with. A script may rely on them.
const (
	exitDone   = 0 // done, or a tunnel that the user stopped
	exitFailed = 1 // anything without a code of its own
	exitUsage  = 2 // wrong usage: nothing was opened
	exitProxy  = 3 // the forward proxy, or what opens TLS on the way, refused, or could not be reached
	exitSignIn = 4 // sign-in is needed, failed, or was stopped
	exitEdge   = 5 // the edge refused: forbidden, or no such route
)

// exits is tried from top to bottom: a sign-in that failed at the forward proxy
// is the proxy's failure. An error that none of them knows is exitFailed.
var exits = []struct {
	code int
	is   func(error) bool
}{
	{exitUsage, isUsage},
	{exitProxy, is[*proxy.Error]},
	{exitProxy, is[*scriptError]},
	{exitSignIn, is[*login.Error]},
	{exitSignIn, wantsSignIn},
	{exitProxy, func(err error) bool { return inspected(err) != "" }},
	{exitEdge, is[*edge.AnswerError]},
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
	var l *listen.Error
	if errors.As(err, &l) {
		return l.Reason == listen.Malformed
	}
	return is[*usageError](err) || is[*unknownCommand](err) || is[*Refusal](err) || is[*proxy.SettingError](err)
}

func wantsSignIn(err error) bool {
	var answer *edge.AnswerError
	return errors.As(err, &answer) && answer.SignIn()
}

// is reports whether an error of type E is in err's chain.
func is[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}
