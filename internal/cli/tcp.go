package cli

import (
	"github.com/spf13/cobra"
)

func (p *program) tcp() *cobra.Command {
	var f tcpFlags
	cmd := &cobra.Command{
		Use:   "tcp destination... [flags]",
		Short: "Open TCP tunnels to destinations behind Pomerium",
		RunE: func(cmd *cobra.Command, args []string) error {
			return nil
		},
	}
	f.add(cmd)
	return cmd
}

func (p *program) demo() *cobra.Command {
	return &cobra.Command{Use: "demo", Short: "Show a tunnel through a forward proxy, all on this machine", RunE: func(*cobra.Command, []string) error { return nil }}
}
