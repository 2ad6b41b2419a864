package cli

import (
	"errors"

	"github.com/pomerium/pomerium-cli/internal/kubecred"
	"github.com/pomerium/pomerium-cli/internal/listen"
	"github.com/pomerium/pomerium-cli/proxy"
)

// hints are the remedies, one row for each kind of trouble, tried from top to
// bottom: what went wrong at the nearest hop comes first. A row looks at an
// error and says what to do, or "" if the error is not its own. Each names a
// flag, a variable or a command.
var hints = []func(error) string{
	hintCommand,
	hintRefusal,
	hintSetting,
	hintUsage,
	hintSecret,
	hintListen,
	hintOutput,
	hintScript,
	hintProxyAuth,
	hintProxyTLS,
	hintProxyProtocol,
	hintProxyAnswer,
	hintProxyDial,
	hintAccount,
	hintStore,
	hintSignedOut,
	hintKubeconfig,
	hintChoice,
	hintEdgeTLS,
	hintInspection,
	hintEdgeAnswer,
	hintIdle,
	hintDirect,
	hintNobody,
	hintSignOut,
	hintSignIn,
}

// hintFor picks the remedy for an error, or "".
func hintFor(err error) string {
	for _, h := range hints {
		if text := h(err); text != "" {
			return text
		}
	}
	return ""
}

// as finds an error of type E in err's chain.
func as[E error](err error) (E, bool) {
	var e E
	ok := errors.As(err, &e)
	return e, ok
}

func hintCommand(err error) string {
	e, ok := as[*unknownCommand](err)
	switch {
	case !ok:
		return ""
	case len(e.similar) > 0:
		return "did you mean pomerium-cli " + e.similar[0] + "?"
	}
	return "pomerium-cli help lists the commands"
}

func hintRefusal(err error) string {
	if e, ok := as[*Refusal](err); ok {
		return e.Instead
	}
	return ""
}

// hintSetting is about a proxy setting that cannot be used.
func hintSetting(err error) string {
	e, ok := as[*proxy.SettingError](err)
	switch {
	case !ok:
		return ""
	case errors.Is(err, errDetect):
		return "if you know who answers there, name the script: --forward-proxy pac+http://wpad.example.com/wpad.dat; or name the proxy; or add --forward-proxy direct"
	case e.Source == ofPreProxy:
		return "write --pre-proxy http://proxy.internal:3128, with % # / ? @ in a password as %25 %23 %2F %3F %40"
	case e.Source == "--forward-proxy":
		return "write --forward-proxy http://proxy.internal:3128, with % # / ? @ in a password as %25 %23 %2F %3F %40; or --forward-proxy direct for none"
	}
	if ofSystem(e.Source) {
		return "correct it there, or name the proxy itself: --forward-proxy http://proxy.internal:3128"
	}
	return "correct " + e.Source + " (% # / ? @ in a password are %25 %23 %2F %3F %40), unset it, or set --forward-proxy in its place"
}

func hintUsage(err error) string {
	if errors.Is(err, errNoServer) {
		return "give it as https://pomerium.example.com, or in " + envURL
	}
	if e, ok := as[*usageError](err); ok && e.command != "" {
		return e.command + " --help tells what it takes"
	}
	return ""
}

// hintSecret is about one that would stand in a file of another program.
func hintSecret(err error) string {
	switch {
	case errors.Is(err, errPasswordInURL):
		return "leave it out of the URL, and give it in --forward-proxy-credentials-file or " + envLogin
	case errors.Is(err, errTokenInFlag):
		return "give it with --service-account-file"
	}
	return ""
}

func hintListen(err error) string {
	e, ok := as[*listen.Error](err)
	if !ok {
		return ""
	}
	switch e.Reason {
	case listen.InUse:
		return "choose another with --listen, or leave --listen out for a free port"
	case listen.Forbidden:
		return "choose a port from 1024 with --listen 127.0.0.1:8443, or a path in a directory of your own"
	case listen.NotOurs:
		return "--listen 127.0.0.1:5432 is for programs of this machine, --listen :5432 for all who reach it"
	case listen.NotASocket:
		return "remove the file, or choose another path with --listen unix:/path"
	}
	if e.Spec == "-" {
		return "--listen - writes there what the destination answers; >/dev/null throws it away"
	}
	return ""
}

func hintOutput(err error) string {
	if is[*listen.OutputError](err) {
		return "the program that reads the output of --listen - has ended or cannot take more"
	}
	return ""
}

// hintKubeconfig is about a kubeconfig that is not changed.
func hintKubeconfig(err error) string {
	if errors.Is(err, kubecred.ErrStyle) {
		return "--dry-run prints what to put into it; --kubeconfig takes another file, and KUBECONFIG several"
	}
	return ""
}

// hintChoice is about words that choose no route, or several.
func hintChoice(err error) string {
	if errors.Is(err, errNoRoute) || errors.Is(err, errManyRoute) {
		return "pomerium-cli routes list --type tcp shows them"
	}
	return ""
}
