package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// groupKey is the annotation of a flag with the heading that help prints it under.
const groupKey = "group"

// elsewhere is the annotation of a command whose help does not list the flags
// that it shares with tcp.
const elsewhere = "elsewhere"

// brief leaves the flags that cmd has so far out of its help.
func brief(cmd *cobra.Command) {
	var titles []string
	for _, g := range groups(cmd) {
		titles = append(titles, g.title)
	}
	cmd.Annotations = map[string]string{elsewhere: strings.Join(titles, "\n")}
}

// writeHelp prints what a command is for. It is a function and not a template
// of cobra's, because a template makes the linker keep every exported method
// of the program.
func writeHelp(w io.Writer, cmd *cobra.Command) {
	about := cmd.Long
	if about == "" {
		about = cmd.Short
	}
	fmt.Fprintf(w, "%s\n\nUsage:\n  %s\n", strings.TrimSpace(about), useLine(cmd))
	if len(cmd.Aliases) > 0 {
		fmt.Fprintf(w, "\nAlso called: %s\n", strings.Join(cmd.Aliases, ", "))
	}
	if cmd.Example != "" {
		fmt.Fprintf(w, "\nExamples:\n%s\n", cmd.Example)
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprint(w, "\nCommands:\n")
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				fmt.Fprintf(w, "  %-*s  %s\n", c.NamePadding(), c.Name(), c.Short)
			}
		}
	}
	shared := strings.Split(cmd.Annotations[elsewhere], "\n")
	for _, g := range groups(cmd) {
		if !slices.Contains(shared, g.title) {
			fmt.Fprintf(w, "\n%s:\n%s", g.title, g.flags.FlagUsages())
		}
	}
	if len(cmd.Annotations[elsewhere]) > 0 {
		fmt.Fprintf(w, "\n%s:\n  the flags of tcp, such as --forward-proxy and --alternate-ca-path: pomerium-cli help tcp\n", strings.Join(shared, ", "))
	}
	if general := persistentFlags(cmd); general.HasAvailableFlags() {
		fmt.Fprintf(w, "\nMessages:\n%s", general.FlagUsages())
	}
	if cmd.HasAvailableSubCommands() {
		of := strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()) // " k8s" of pomerium-cli k8s
		fmt.Fprintf(w, "\n%s help%s <command> tells more about one of them.\n", cmd.Root().Name(), of)
	}
}

func useLine(cmd *cobra.Command) string {
	if cmd.HasAvailableSubCommands() {
		return cmd.CommandPath() + " <command> [flags]"
	}
	return cmd.UseLine()
}

// persistentFlags are the flags that every command has.
func persistentFlags(cmd *cobra.Command) *pflag.FlagSet {
	if cmd.HasParent() {
		return cmd.InheritedFlags()
	}
	return cmd.PersistentFlags()
}

type group struct {
	title string
	flags *pflag.FlagSet
}

// groups sorts a command's own flags under their headings, in the order in which the first flag
// of each was defined. A flag without a heading goes under "Flags".
func groups(cmd *cobra.Command) []group {
	general := persistentFlags(cmd)
	var gs []group
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		title := "Flags"
		if t := f.Annotations[groupKey]; len(t) > 0 {
			title = t[0]
		}
		if f.Hidden || f.Name == "help" || general.Lookup(f.Name) != nil {
			return
		}
		for i := range gs {
			if gs[i].title == title {
				gs[i].flags.AddFlag(f)
				return
			}
		}
		g := group{title: title, flags: pflag.NewFlagSet(title, pflag.ContinueOnError)}
		g.flags.SortFlags = false
		g.flags.AddFlag(f)
		gs = append(gs, g)
	})
	return gs
}
