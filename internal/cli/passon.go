package cli

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// fileFlags name files. Who runs the program later is in another directory.
var fileFlags = map[string]bool{
	"alternate-ca-path": true, "client-cert": true, "client-key": true, "service-account-file": true,
	"forward-proxy-ca-path": true, "forward-proxy-client-cert": true, "forward-proxy-client-key": true,
	"forward-proxy-credentials-file": true,
}

// notPassedOn are flags that another file says already, or that are for a person
// who types.
var notPassedOn = map[string]bool{"pomerium-url": true, "listen": true, "save": true}

var (
	errPasswordInURL = errors.New("a file of another program is no place for a password")
	errTokenInFlag   = errors.New("a file of another program is no place for a token")
)

// tunnelCommand is the command line of a tunnel, without its destination: this
// program with the flags that were given.
func (p *program) tunnelCommand(cmd *cobra.Command) ([]string, error) {
	program, err := programPath()
	if err != nil {
		return nil, err
	}
	flags, err := passOn(cmd)
	return append([]string{program, "tcp"}, flags...), err
}

// passOn returns the flags that were given on a command line, for another
// program to give again. Secrets are refused.
func passOn(cmd *cobra.Command) (words []string, err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if len(f.Annotations[groupKey]) == 0 || notPassedOn[f.Name] || err != nil {
			return
		}
		values := []string{f.Value.String()}
		if several, ok := f.Value.(pflag.SliceValue); ok {
			values = several.GetSlice()
		}
		for _, v := range values {
			if v, err = passable(f.Name, v); err != nil {
				err = usagef("--%s: %w", f.Name, err)
				return
			}
			words = append(words, "--"+f.Name+"="+v)
		}
	})
	return words, err
}

// passable is the value of a flag in a file that outlives this run.
func passable(name, value string) (string, error) {
	_, rest, ok := strings.Cut(value, "://")
	if !ok {
		rest = value
	}
	user := rest[:max(strings.LastIndex(rest, "@"), 0)]
	switch {
	case name == "service-account":
		return "", errTokenInFlag
	case (name == "forward-proxy" || name == "pre-proxy") && strings.Contains(user, ":"):
		return "", errPasswordInURL
	case strings.ContainsFunc(value, unicode.IsControl):
		return "", errors.New("has a control character or line break")
	case fileFlags[name]:
		return filepath.Abs(value)
	}
	return value, nil
}

// programPath is this program, by the name that an upgrade keeps: where the
// shell finds it, if that is this very file.
func programPath() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	found, err := exec.LookPath(filepath.Base(self))
	if err != nil || !filepath.IsAbs(found) {
		return self, nil
	}
	a, aerr := os.Stat(self)
	b, berr := os.Stat(found)
	if aerr == nil && berr == nil && os.SameFile(a, b) {
		return found, nil
	}
	return self, nil
}
