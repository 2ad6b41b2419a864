package cli

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pomerium/pomerium-cli/internal/edge"
	"github.com/pomerium/pomerium-cli/internal/swap"
)

// envURL is the server of whoever names none.
const envURL = "POMERIUM_URL"

// maxLastURL bounds the remembered URL, in bytes.
const maxLastURL = 1 << 10

// cacheDir is where this program and the existing client keep what they do not
// want to ask for again.
func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "pomerium-cli"), nil
}

// server finds the server that a command is about: the argument, the variable,
// or the one of the last run, which is said.
func (p *program) server(cmd *cobra.Command, args []string) (*url.URL, error) {
	if len(args) > 1 {
		return nil, &usageError{command: cmd.CommandPath(), err: errors.New("more than one URL given")}
	}
	if len(args) == 1 {
		u, err := edge.ParseServer(args[0])
		if err != nil {
			return nil, usagef("%w", err)
		}
		return u, nil
	}
	if raw := p.Getenv(envURL); raw != "" {
		u, err := edge.ParseServer(raw)
		if err != nil {
			return nil, usagef(envURL+": %w", err)
		}
		return u, nil
	}
	u := lastServer()
	if u == nil {
		return nil, &usageError{command: cmd.CommandPath(), err: errNoServer}
	}
	p.ui().Notice("no URL given, so it is " + shownURL(u) + " as in the last run")
	return u, nil
}

// errNoServer says that nobody named a server.
var errNoServer = errors.New("no URL of a Pomerium server given")

// shownURL is a server's URL as a person would write it.
func shownURL(server *url.URL) string { return server.Scheme + "://" + edge.Host(server) }

// lastServer is the server that the last run of this program or the existing
// client asked; nil without one, whatever the reason.
func lastServer() *url.URL {
	dir, err := cacheDir()
	if err != nil {
		return nil
	}
	data, err := swap.Read(filepath.Join(dir, lastURL), maxLastURL)
	if err != nil {
		return nil
	}
	u, err := edge.ParseServer(strings.TrimSpace(string(data)))
	if err != nil {
		return nil
	}
	return u
}

// lastURL is the existing client's file for it.
const lastURL = "last-url"

// rememberServer keeps a server that has answered for the next run. What cannot
// be kept has to be said again: that is no failure.
func (p *program) rememberServer(server *url.URL) {
	if last := lastServer(); last != nil && *last == *server {
		return
	}
	dir, err := cacheDir()
	if err == nil {
		err = swap.File(filepath.Join(dir, lastURL), []byte(shownURL(server)), 0o600)
	}
	if err != nil {
		p.ui().log.Debug("the server is not remembered", "err", err)
	}
}
