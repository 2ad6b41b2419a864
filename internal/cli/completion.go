package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pomerium/pomerium-cli/proxy"
)

// flagWords are what a shell offers for flags that take one of a few words, or
// what begins with one of them.
func flagWords() map[string][]string {
	return map[string][]string{
		"forward-proxy":      {"direct", "system", "http://", "https://", "socks5h://", "pac+https://", "pac+file:///"},
		"forward-proxy-auth": proxy.AuthSchemes(),
		"listen":             {"-", "127.0.0.1:", "unix:/"},
		"log-format":         {"text", "json"},
		"log-level":          {"debug", "info", "warn", "error"},
		"pre-proxy":          {"http://", "https://", "socks5h://"},
		"protocol":           {"auto", "h1", "h2"},
		"token-store":        {storeFile, storeKeyring, storeMemory},
		"type":               routeTypes,
	}
}

// isCompletion reports whether a shell asks what may come next: no other run
// has to pay for the answer.
func isCompletion(args []string) bool {
	return len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd)
}

// prepareCompletion gives each flag of cmd and the commands below it its words,
// and takes the marks that help reads out of its description.
func prepareCompletion(cmd *cobra.Command) {
	words := flagWords()
	prepare := func(f *pflag.Flag) {
		_, f.Usage = pflag.UnquoteUsage(f)
		if all := words[f.Name]; all != nil {
			// The error is for a flag that has its words already, as one has that commands share.
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(all, cobra.ShellCompDirectiveNoSpace|cobra.ShellCompDirectiveNoFileComp))
		}
	}
	cmd.Flags().VisitAll(prepare)
	cmd.PersistentFlags().VisitAll(prepare)
	for _, c := range cmd.Commands() {
		prepareCompletion(c)
	}
}
