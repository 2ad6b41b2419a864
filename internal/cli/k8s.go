package cli

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/pomerium/pomerium-cli/internal/edge"
	"github.com/pomerium/pomerium-cli/internal/kubecred"
	"github.com/pomerium/pomerium-cli/internal/login"
)

func (p *program) k8s() *cobra.Command {
	cmd := parent("k8s", "kubectl's credentials for clusters behind Pomerium", "kubernetes")
	cmd.AddCommand(p.configureKubectl(), p.execCredential(), p.flushCredentials())
	return cmd
}

const execCredentialLong = `Print the credential with which kubectl asks a cluster behind Pomerium.

kubectl runs it: it is the exec plugin of a user in a kubeconfig. The token that
is kept is tried at the server each time, because kubectl comes back after a
refusal. Where kubectl says that nobody can sign in (interactive is false), no
browser opens, and the exit code is 4.`

const execCredentialExample = `  # in a kubeconfig
  users:
  - name: cluster
    user:
      exec:
        apiVersion: client.authentication.k8s.io/v1
        command: pomerium-cli
        args: [k8s, exec-credential, https://k8s.example.com]
        interactiveMode: IfAvailable`

// unattendedError says that kubectl forbids to ask anybody.
type unattendedError struct{ server string }

func (*unattendedError) Error() string {
	return "kubectl says that nobody can sign in now (interactive is false)"
}

func (p *program) execCredential() *cobra.Command {
	var f reachFlags
	cmd := &cobra.Command{
		Use:     "exec-credential [api-server-url] [flags]",
		Short:   "Print a credential for kubectl",
		Long:    execCredentialLong,
		Example: execCredentialExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			asked, err := kubecred.ParseRequest(p.Getenv(kubecred.EnvInfo))
			if err != nil {
				return usagef(kubecred.EnvInfo+": %w", err)
			}
			raw, server, err := apiServer(cmd, args, asked.Server)
			if err != nil {
				return err
			}
			q, err := p.inquire(cmd, f, server)
			if err != nil {
				return err
			}
			defer q.Close()
			if err := q.shareWithKubectl(raw); err != nil {
				return err
			}
			if !asked.Interactive {
				q.keepOut(&unattendedError{shownURL(server)})
			}
			text, _, err := q.user(cmd.Context())
			if err != nil {
				return err
			}
			pair, err := q.parts.plan.pairPEM()
			if err != nil {
				return err
			}
			c := kubecred.Credential{Token: text, Certificate: pair[0], Key: pair[1]}
			if exp := login.Expiry(text); q.parts.plan.account != nil && exp.After(time.Now()) {
				c.Until = exp
			}
			_, err = cmd.OutOrStdout().Write(asked.Answer(c))
			return err
		},
	}
	f.add(cmd)
	return cmd
}

// apiServer is the API server as it was written, which names its credential in
// the existing client's files, and the edge in front of it.
func apiServer(cmd *cobra.Command, args []string, told string) (raw string, server *url.URL, err error) {
	switch {
	case len(args) > 1:
		return "", nil, &usageError{command: cmd.CommandPath(), err: errors.New("more than one URL given")}
	case len(args) == 1:
		told = args[0]
	case told == "":
		return "", nil, &usageError{command: cmd.CommandPath(), err: errors.New("no URL of an API server given")}
	}
	if server, err = edge.ParseServer(told); err != nil {
		return "", nil, usagef("%w", err)
	}
	u, err := url.Parse(told)
	if err != nil {
		return "", nil, usagef("not a URL") // ParseServer has seen it
	}
	return u.String(), server, nil
}

// pairPEM is the client certificate and its key, for kubectl to show as well.
func (r *reach) pairPEM() (pair [2]string, err error) {
	if r.clientPair == nil {
		return pair, nil
	}
	for i, path := range []string{r.clientCert, r.clientKey} {
		data, err := os.ReadFile(path)
		if err != nil {
			return pair, err
		}
		pair[i] = string(data)
	}
	return pair, nil
}

// shareWithKubectl has the questions of q use the credentials that the existing
// client keeps for kubectl, too, and keep theirs there.
func (q *inquiry) shareWithKubectl(url string) error {
	dir, err := cacheDir()
	if err != nil || q.parts.plan.account != nil || q.parts.plan.tokenStore != storeFile {
		return err
	}
	s, ok := q.tokens.(*login.SignIn)
	if ok {
		q.parts.store = kubeStore{s.Store, kubecred.Cache{Dir: filepath.Join(dir, execCredentialsDir)}, url}
		s.Store = q.parts.store
	}
	return nil
}

// kubeStore keeps a token among the others and as kubectl's credential.
type kubeStore struct {
	login.Store
	cache kubecred.Cache
	url   string
}

// Load implements login.Store.
func (s kubeStore) Load(ctx context.Context, key string) (string, error) {
	kept, err := s.Store.Load(ctx, key)
	if kept == "" {
		if other, cerr := s.cache.Load(s.url); other != "" && cerr == nil {
			return other, nil
		}
	}
	return kept, err
}

// Save implements login.Store.
func (s kubeStore) Save(ctx context.Context, key, text string) error {
	return errors.Join(s.Store.Save(ctx, key, text), s.cache.Save(s.url, text))
}

// Delete implements login.Store.
func (s kubeStore) Delete(ctx context.Context, key, text string) error {
	return errors.Join(s.Store.Delete(ctx, key, text), s.cache.Delete(s.url, text))
}

func (p *program) flushCredentials() *cobra.Command {
	return &cobra.Command{
		Use:   "flush-credentials [api-server-url]",
		Short: "Forget kubectl's credential for a server, or for all",
		Long: `Forget the credential that kubectl has for a server, and the token of that
server with it, so that the next kubectl signs in. Without a URL it is the
credentials of all servers; the tokens that other commands use stay then.`,
		Example: "  pomerium-cli k8s flush-credentials https://k8s.example.com",
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := cacheDir()
			if err != nil {
				return err
			}
			cache := kubecred.Cache{Dir: filepath.Join(dir, execCredentialsDir)}
			if len(args) == 0 {
				return cache.Clear()
			}
			raw, server, err := apiServer(cmd, args, "")
			if err != nil {
				return err
			}
			_, err = forgetToken(cmd.Context(), dir, server)
			return errors.Join(err, cache.Remove(raw))
		},
	}
}
