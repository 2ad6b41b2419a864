package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/pomerium/pomerium-cli/internal/token"
)

// The directories below the cache's that hold nothing but tokens.
const (
	jwtsDir            = "jwts"
	execCredentialsDir = "exec-credential"
)

func (p *program) cache() *cobra.Command {
	cmd := parent("cache", "Where tokens are kept, and forgetting them")
	cmd.AddCommand(&cobra.Command{
		Use:     "location",
		Short:   "Print the directory where tokens are kept",
		Example: "  ls \"$(pomerium-cli cache location)\"",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := cacheDir()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), dir)
			return err
		},
	}, &cobra.Command{
		Use:     "clear",
		Short:   "Remove that directory: all tokens, and what else is remembered",
		Example: "  pomerium-cli cache clear",
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			dir, err := cacheDir()
			if err != nil {
				return err
			}
			return os.RemoveAll(dir)
		},
	})
	return cmd
}

// forgetAll drops the tokens of all servers, those for kubectl among them.
func (p *program) forgetAll(ctx context.Context) error {
	dir, err := cacheDir()
	if err != nil {
		return err
	}
	tokens := filepath.Join(dir, jwtsDir)
	err = errors.Join(token.File{Dir: tokens}.Clear(ctx), (&token.Sealed{Dir: tokens}).Clear(ctx),
		os.RemoveAll(filepath.Join(dir, execCredentialsDir)))
	if err != nil {
		return fmt.Errorf("forgetting tokens: %w", err)
	}
	p.ui().Done("all tokens are forgotten")
	return nil
}
