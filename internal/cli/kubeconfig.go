package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pomerium/pomerium-cli/internal/edge"
	"github.com/pomerium/pomerium-cli/internal/kubecred"
)

const configureLong = `Write the entries of a kubeconfig with which kubectl reaches a cluster behind
Pomerium: the cluster, a user whose credential plugin is this program with the
flags that are given, and a context of both, which becomes the current one.

The file is the one that kubectl config would change, by KUBECONFIG and
~/.kube/config. What else is in it stays as it is, comments included.`

const configureExample = `  pomerium-cli k8s configure https://k8s.example.com --dry-run
  pomerium-cli k8s configure https://k8s.example.com --forward-proxy http://proxy.internal:3128
  kubectl get pods`

// configureFlags are those of k8s configure.
type configureFlags struct {
	reachFlags
	name, file, version string
	dryRun, keepContext bool
}

func (p *program) configureKubectl() *cobra.Command {
	var f configureFlags
	cmd := &cobra.Command{
		Use:     "configure api-server-url [flags]",
		Short:   "Have kubectl reach a cluster behind Pomerium",
		Long:    configureLong,
		Example: configureExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := p.cluster(cmd, args, f)
			if err != nil {
				return err
			}
			if !f.dryRun {
				return p.configure(c, f)
			}
			k, _ := kubecred.ParseKubeconfig("apiVersion: v1\nkind: Config\n") // is in the style that is read
			if err := setAll(c, func(kubecred.Section) *configFile { return &configFile{Kubeconfig: k} }); err != nil {
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), k.String())
			return err
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "print the entries, and write nothing")
	cmd.Flags().StringVar(&f.name, "name", "", "`name` of the entries (default: the server's host)")
	cmd.Flags().StringVar(&f.file, "kubeconfig", "", "the `file` (default: by $KUBECONFIG, or ~/.kube/config)")
	cmd.Flags().StringVar(&f.version, "api-version", "v1", "`version` of the credential: v1, or v1beta1 for a kubectl before 1.22")
	cmd.Flags().BoolVar(&f.keepContext, "keep-context", false, "leave the current context as it is")
	return cmd
}

// cluster makes the entries of the flags.
func (p *program) cluster(cmd *cobra.Command, args []string, f configureFlags) (c kubecred.Cluster, err error) {
	raw, server, err := apiServer(cmd, args, "")
	if err != nil {
		return c, err
	}
	if f.version != "v1" && f.version != "v1beta1" {
		return c, usagef("--api-version %q: not v1 or v1beta1", f.version)
	}
	r, err := f.check(cmd, p.Getenv)
	if err != nil {
		return c, err
	}
	if _, err := r.ways(cmd.Context(), server); err != nil { // the plugin would say so, at each kubectl
		return c, err
	}
	flags, err := passOn(cmd)
	if err != nil {
		return c, err
	}
	c = kubecred.Cluster{Name: f.name, Server: raw, CAData: strings.Join(strings.Fields(r.caBase64), ""), Insecure: r.insecure, Version: f.version}
	if c.Name == "" {
		c.Name = edge.Host(server)
	}
	if r.caPath != "" {
		if c.CAFile, err = filepath.Abs(r.caPath); err != nil {
			return c, err
		}
	}
	if c.Command, err = programPath(); err != nil {
		return c, err
	}
	c.Args = append([]string{"k8s", "exec-credential", raw}, flags...)
	if c.Proxy = kubectlProxy(r); c.Proxy == "" && len(r.out.before)+len(slices.DeleteFunc(slices.Clone(r.out.proxies), isDirect)) > 0 {
		p.ui().Notice("kubectl itself cannot go the way of these flags: set HTTPS_PROXY where it runs")
	}
	return c, nil
}

func isDirect(way string) bool { return way == "direct" }

// kubectlProxy is the forward proxy in kubectl's words, or "".
func kubectlProxy(r *reach) string {
	if len(r.forwardProxy) != 1 || len(r.preProxy) > 0 {
		return ""
	}
	scheme, rest, _ := strings.Cut(r.forwardProxy[0], "://")
	switch scheme {
	case "http", "https", "socks5":
		return r.forwardProxy[0]
	case "socks5h": // kubectl's socks5 has the proxy look names up, too
		return "socks5://" + rest
	}
	return ""
}

// setAll puts the entries of a cluster where they belong.
func setAll(c kubecred.Cluster, in func(kubecred.Section) *configFile) error {
	for _, s := range []kubecred.Section{kubecred.Clusters, kubecred.Users, kubecred.Contexts} {
		file := in(s)
		if err := file.Set(s, c.Name, c.Entry(s)); err != nil {
			return fmt.Errorf("%s: %w", file.path, err)
		}
	}
	return nil
}

// configFile is one file of KUBECONFIG.
type configFile struct {
	path   string
	exists bool
	was    string
	*kubecred.Kubeconfig
}

// configure writes the entries into the files that kubectl would: where an entry
// is, in its place; a new one in the first file that exists; without any, in a
// new file, the last of the list.
func (p *program) configure(c kubecred.Cluster, f configureFlags) error {
	files, err := configFiles(f.file, p.Getenv)
	if err != nil {
		return err
	}
	fallback := files[len(files)-1]
	if i := slices.IndexFunc(files, func(f *configFile) bool { return f.exists }); i >= 0 {
		fallback = files[i]
	}
	where := func(has func(*configFile) bool) *configFile {
		if i := slices.IndexFunc(files, has); i >= 0 {
			return files[i]
		}
		return fallback
	}
	err = setAll(c, func(s kubecred.Section) *configFile {
		return where(func(f *configFile) bool { return f.Has(s, c.Name) })
	})
	if err != nil {
		return err
	}
	if !f.keepContext {
		file := where(func(f *configFile) bool { return f.Current() != "" })
		if err := file.SetCurrent(c.Name); err != nil {
			return fmt.Errorf("%s: %w", file.path, err)
		}
	}
	for _, file := range files {
		if file.String() == file.was {
			continue
		}
		if err := file.write(); err != nil {
			return fmt.Errorf("%s: %w", file.path, cause(err))
		}
		p.ui().Done(file.path + ": written")
	}
	return nil
}

// configFiles reads the files that kubectl would.
func configFiles(flag string, getenv func(string) string) ([]*configFile, error) {
	paths := slices.DeleteFunc(filepath.SplitList(getenv("KUBECONFIG")), func(s string) bool { return s == "" })
	if flag != "" {
		paths = []string{flag}
	}
	if len(paths) == 0 {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, err
		}
		paths = []string{filepath.Join(home, ".kube", "config")}
	}
	var files []*configFile
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w", path, cause(err))
		}
		file := &configFile{path: path, exists: err == nil, was: string(data)}
		text := file.was
		if strings.TrimSpace(text) == "" {
			text += "apiVersion: v1\nkind: Config\n"
		}
		if file.Kubeconfig, err = kubecred.ParseKubeconfig(text); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if text != file.was {
			file.was = text // a file without entries needs no writing
			file.exists = file.exists && len(data) > 0
		}
		files = append(files, file)
	}
	return files, nil
}

var errMeanwhile = errors.New("changed by another program meanwhile: try again")

// write gives the file its new content, with the lock that kubectl takes.
func (f *configFile) write() error {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return err
	}
	lock, err := os.OpenFile(f.path+".lock", os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("locking it with %s.lock: %w", f.path, cause(err))
	}
	defer os.Remove(f.path + ".lock")
	if err := lock.Close(); err != nil {
		return err
	}
	_, err = editFile(f.path, func(text string) (string, error) {
		if f.exists && text != f.was {
			return "", errMeanwhile
		}
		return f.String(), nil
	})
	return err
}
