package cli_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/cli"
)

func TestEditSSHConfig(t *testing.T) {
	const mine = "ServerAliveInterval 5\n# mine\nHost other\n  User me"
	one := must(cli.EditSSHConfig(mine, "a.test", true))
	two := must(cli.EditSSHConfig(one, "b.test", true))
	for name, c := range map[string]struct{ got, want string }{
		"at the top":  {one, cli.SSHMarker + "\nHost a.test\n  ProxyCommand x\nHost *\n# <<< pomerium-cli ssh-config <<<\n" + mine},
		"once":        {must(cli.EditSSHConfig(one, "a.test", true)), one},
		"both":        {two, strings.Replace(one, "Host a.test", "Host b.test\n  ProxyCommand x\nHost a.test", 1)},
		"one is gone": {must(cli.EditSSHConfig(two, "b.test", false)), one},
		"all gone":    {must(cli.EditSSHConfig(one, "a.test", false)), mine},
		"none there":  {must(cli.EditSSHConfig(mine, "a.test", false)), mine},
		"elsewhere":   {must(cli.EditSSHConfig("Host z\n"+one, "a.test", false)), "Host z\n" + mine},
	} {
		if c.got != c.want {
			t.Errorf("%s:\n%s\nwant:\n%s", name, c.got, c.want)
		}
	}
	for _, broken := range []string{cli.SSHMarker + "\n", one + one, strings.TrimPrefix(one, cli.SSHMarker), cli.SSHMarker + "\nHost mine\n" + one} {
		if got, err := cli.EditSSHConfig(broken, "a.test", true); err == nil {
			t.Errorf("%q became %q", broken, got)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestQuoteSh(t *testing.T) {
	for _, s := range []string{"plain/a-b_c.d:1", "", "two words", "it's", "$HOME `id` \\ \"", "*?[a]~", "#x", "a;b&c|d", "ü"} {
		out, err := exec.Command("sh", "-c", "printf %s "+cli.QuoteSh(s)).Output()
		if err != nil || string(out) != s {
			t.Errorf("%q became %q, %v", s, out, err)
		}
	}
}

// FuzzEditSSHConfig: what was there is there again when ours is gone, and
// installing twice is installing once.
func FuzzEditSSHConfig(f *testing.F) {
	for _, seed := range []string{"", "Host *\n", "Host a\r\n  User b", "\n\n#\n", cli.SSHMarker, "x" + cli.SSHMarker + "\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		one, err := cli.EditSSHConfig(text, "a.test", true)
		if err != nil {
			return // markers of ours that are no pair
		}
		two, err := cli.EditSSHConfig(one, "a.test", true)
		if err != nil || two != one {
			t.Errorf("%q, then %q, %v", one, two, err)
		}
		if strings.Contains(text, "pomerium-cli ssh-config") {
			return
		}
		if back, err := cli.EditSSHConfig(one, "a.test", false); err != nil || back != text {
			t.Errorf("%q became %q, %v", text, back, err)
		}
	})
}
