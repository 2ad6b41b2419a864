package cli

import (
	"context"
	"log/slog"
	"net"

	"github.com/pomerium/pomerium-cli/proxy"
)

// The tables that the tests go through.
var (
	HintFor  = hintFor
	AskFor   = askFor
	ExitCode = exitCode
	ErrLoop  = errLoop

	ErrKeptRefused = errKeptRefused
	ErrDetect      = errDetect
	ErrNoServer    = errNoServer
	ErrNoRoute     = errNoRoute
	ErrManyRoute   = errManyRoute
	ErrSignedOut   = errSignedOut
	ErrNobody      = errNobody

	ErrPasswordInURL = errPasswordInURL
	ErrTokenInFlag   = errTokenInFlag
)

// Hints returns the rows of the table of hints.
func Hints() []func(error) string { return hints }

// Asks returns the rows of the table of requests.
func Asks() []func(error) string { return asks }

// Explain is what check says about a step.
var Explain = explain

// Errors of check about the token.
var ErrNoToken, ErrOldToken = errNoToken, errOldToken

// UsageError makes the error of a wrong command line.
func UsageError(command string, err error) error { return &usageError{command: command, err: err} }

// UnattendedError makes the error of a kubectl with nobody there.
func UnattendedError(server string) error { return &unattendedError{server} }

// StoreError makes the error of a keyring that cannot keep tokens.
func StoreError(err error) error { return &storeError{err} }

// PageError makes the error of a page that could not be shown.
func PageError(page string, err error) error { return &pageError{page, err} }

// ScriptError makes the error of a script that chose no proxy.
func ScriptError(setting string, err error) error { return &scriptError{setting, err} }

// UnknownCommand makes the error of a word that is no command.
func UnknownCommand(name string, similar ...string) error {
	return &unknownCommand{name: name, similar: similar}
}

// DialGuarded dials addr as a program would that listens on listeners.
func DialGuarded(addr string, listeners ...net.Listener) (net.Conn, error) {
	var own ownListeners
	own.set(listeners)
	return own.guard((&net.Dialer{}).DialContext)(context.Background(), "tcp", addr)
}

// NewDeadWays makes the memory of dead ways as a run does.
func NewDeadWays() *deadWays { return newDeadWays(slog.New(slog.DiscardHandler)) }

// Path is the file of d.
func (d *deadWays) Path() string { return d.path }

// NewSystem makes the selector that does what the system says.
func NewSystem(getenv func(string) string) proxy.Selector { return newSystem(getenv, proxy.Config{}) }

// ParseNetrc reads a .netrc file.
var ParseNetrc = parseNetrc

// ParseLogin reads a --forward-proxy-credentials-file.
var ParseLogin = parseLogin

// HashWay is what the file has for a way.
var HashWay = hashWay

// OneLine is what of a foreign text comes to the terminal.
func OneLine(s string) string { return oneLine(s) }

// EditSSHConfig adds a section for host to ssh configuration, or takes it out.
func EditSSHConfig(text, host string, add bool) (string, error) {
	var hosts []sshHost
	if add {
		hosts = []sshHost{{host, "Host " + host + "\n  ProxyCommand x\n"}}
	}
	return editSSHConfig(text, hosts, func(name string) bool { return name == host })
}

// SSHMarker is a line of ours.
const SSHMarker = sshBegin

// PrintRoutes prints the list of routes.
var PrintRoutes = printRoutes

// QuoteSh makes one word of a shell.
var QuoteSh = quoteSh
