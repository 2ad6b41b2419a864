package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pomerium/pomerium-cli/internal/swap"
)

const sshConfigLong = `Print ssh configuration with which ssh goes through Pomerium by itself.

A destination is written as for tcp; without a port it is 22. The flags that are
given become part of the configuration, files with their whole path. --install
puts it at the top of ~/.ssh/config, between markers, and --remove takes it out
again; both leave the rest of the file as it is.`

const sshConfigExample = `  # look at it first
  pomerium-cli ssh-config db.internal --pomerium-url https://pomerium.example.com

  # once, and then: ssh db.internal, scp, git, rsync
  pomerium-cli ssh-config db.internal git.internal:2222 --install \
    --pomerium-url https://pomerium.example.com --forward-proxy http://proxy.internal:3128

  # all of it
  pomerium-cli ssh-config --remove`

// sshConfigFlags are those of ssh-config and of the tunnels that it describes.
type sshConfigFlags struct {
	tcpFlags
	install, remove bool
	file            string
}

func (p *program) sshConfig() *cobra.Command {
	var f sshConfigFlags
	cmd := &cobra.Command{
		Use:     "ssh-config destination... [flags]",
		Short:   "Have ssh go through Pomerium by itself",
		Long:    sshConfigLong,
		Example: sshConfigExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case f.install && f.remove:
				return usagef("--install and --remove: only one of them can be meant")
			case len(args) == 0 && !f.remove:
				return &usageError{command: cmd.CommandPath(), err: errors.New("no destination given")}
			}
			return p.runSSHConfig(cmd, args, f)
		},
	}
	f.addWay(cmd)
	brief(cmd)
	cmd.Flags().BoolVar(&f.install, "install", false, "write it to the file")
	cmd.Flags().BoolVar(&f.remove, "remove", false, "take it out of the file; without a destination all of it")
	cmd.Flags().StringVar(&f.file, "file", "", "the `file` (default ~/.ssh/config)")
	return cmd
}

func (p *program) runSSHConfig(cmd *cobra.Command, args []string, f sshConfigFlags) error {
	for i := range args {
		args[i] = withPort(args[i], "22")
	}
	plan, err := f.plan(cmd, p.Getenv, func() ([]route, error) { return f.stdioRoutes(args, p.Getenv) })
	if err != nil {
		return err
	}
	var hosts []sshHost
	if !f.remove {
		command, err := p.tunnelCommand(cmd)
		if err != nil {
			return err
		}
		for _, r := range plan.routes {
			hosts = append(hosts, newSSHHost(r, command))
		}
	}
	if !f.install && !f.remove {
		for _, h := range hosts {
			fmt.Fprint(cmd.OutOrStdout(), h.text)
		}
		return nil
	}
	path, err := f.path()
	if err != nil {
		return err
	}
	changed, err := editFile(path, func(text string) (string, error) {
		return editSSHConfig(text, hosts, f.removed(plan.routes))
	})
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", path, cause(err))
	case !changed:
		p.ui().Done(path + " is as it has to be")
	case f.remove:
		p.ui().Done(path + ": removed")
	default:
		p.ui().Done(path + ": written; ssh " + hosts[0].name + " goes through Pomerium now")
	}
	return nil
}

// removed says which hosts are to go.
func (f *sshConfigFlags) removed(routes []route) func(name string) bool {
	return func(name string) bool {
		for _, r := range routes {
			if host, _, _ := net.SplitHostPort(r.destination); host == name {
				return true
			}
		}
		return f.remove && len(routes) == 0
	}
}

// stdioRoutes understands destinations for ssh, which talks to standard input
// and output.
func (f *tcpFlags) stdioRoutes(args []string, getenv func(string) string) ([]route, error) {
	var routes []route
	for _, arg := range args {
		addr, server, err := f.destination(arg, getenv)
		if err != nil {
			return nil, usagef("%w", err)
		}
		routes = append(routes, route{destination: addr, edge: server, listen: "-"})
	}
	return routes, nil
}

// path is the file that is written.
func (f *sshConfigFlags) path() (string, error) {
	if f.file != "" {
		return filepath.Abs(f.file)
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".ssh", "config"), err
}

// withPort adds a port to a destination that names none.
func withPort(destination, port string) string {
	destination = strings.TrimSuffix(destination, "/")
	name := destination[strings.LastIndex(destination, "/")+1:]
	if name == "" || strings.Contains(strings.TrimSuffix(name, "]"), ":") && !strings.HasSuffix(name, "]") {
		return destination
	}
	return destination + ":" + port
}

// sshHost is one section of ssh configuration.
type sshHost struct{ name, text string }

// newSSHHost writes the section of a destination. ssh expands %p to the port
// that it was told, so that ssh -p asks for that port's route.
func newSSHHost(r route, command []string) sshHost {
	host, port, _ := net.SplitHostPort(r.destination)
	var b strings.Builder
	fmt.Fprintf(&b, "Host %s\n", host)
	if port != "22" {
		fmt.Fprintf(&b, "  Port %s\n", port)
	}
	words := append(command[:len(command):len(command)], "--listen=-")
	if own := (&url.URL{Scheme: "https", Host: net.JoinHostPort(host, "443")}); *own != *r.edge {
		words = append(words, "--pomerium-url="+shownURL(r.edge))
	}
	for i, w := range words {
		words[i] = strings.ReplaceAll(quoteSh(w), "%", "%%")
	}
	target := host
	if strings.Contains(host, ":") {
		target = "'[" + host + "]'"
	}
	fmt.Fprintf(&b, "  ProxyCommand %s %s:%%p\n", strings.Join(words, " "), target)
	return sshHost{host, b.String()}
}

// quoteSh makes one word of a shell.
func quoteSh(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("@%+=:,./_-", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// The lines around what we wrote.
const (
	sshBegin = "# >>> pomerium-cli ssh-config wrote this; changes are lost >>>"
	sshEnd   = "# <<< pomerium-cli ssh-config <<<"
	// sshRest ends the last section: what follows in the file is for all hosts
	// again, as it was.
	sshRest = "Host *\n"
)

var errMarkers = errors.New("its markers of pomerium-cli ssh-config are no pair: remove those lines by hand")

// editSSHConfig adds hosts to a configuration, in place of older ones of the
// same name, and takes out those that are to go. New ones come to the top: ssh
// takes the first value that it finds.
func editSSHConfig(text string, hosts []sshHost, gone func(name string) bool) (string, error) {
	before, rest, found := strings.Cut("\n"+text, "\n"+sshBegin+"\n")
	ours, after, closed := strings.Cut("\n"+rest, "\n"+sshEnd+"\n")
	switch {
	case !found && (strings.Contains(text, sshBegin) || strings.Contains(text, sshEnd)):
		return "", errMarkers
	case found && (!closed || strings.Contains(ours+after, sshBegin) || strings.Contains(before+after, sshEnd)):
		return "", errMarkers
	case !found:
		before, ours, after = "", "", text
	case before != "":
		before = before[1:] + "\n"
	}
	var b strings.Builder
	for _, h := range hosts {
		b.WriteString(h.text)
	}
	kept := keptSections(ours, gone)
	if len(hosts) == 0 && kept == "" {
		return before + after, nil
	}
	return before + sshBegin + "\n" + b.String() + kept + sshRest + sshEnd + "\n" + after, nil
}

// keptSections returns the sections of ours that are not gone.
func keptSections(ours string, gone func(name string) bool) string {
	var b strings.Builder
	keep := false
	for line := range strings.SplitSeq(ours, "\n") {
		if name, ok := strings.CutPrefix(line, "Host "); ok {
			keep = name != "*" && !gone(name)
		}
		if keep && line != "" {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// editFile changes a file in one step, and reports whether there was anything to
// change. A new file is its owner's alone; an old one keeps its mode, and a
// link to it stays one.
func editFile(path string, edit func(text string) (string, error)) (changed bool, err error) {
	mode := fs.FileMode(0o600)
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	data, err := os.ReadFile(path)
	switch {
	case err == nil:
		info, err := os.Stat(path)
		if err != nil {
			return false, err
		}
		mode = info.Mode().Perm()
	case !errors.Is(err, fs.ErrNotExist):
		return false, err
	}
	text, err := edit(string(data))
	if err != nil || text == string(data) {
		return false, err
	}
	return true, swap.File(path, []byte(text), mode)
}
