package cli_test

import (
	"testing"

	"github.com/pomerium/pomerium-cli/internal/cli"
)

func TestNetrc(t *testing.T) {
	for text, want := range map[string]string{
		"machine proxy.test login u password p": "u:p",
		"machine other.test login a password b\nmachine PROXY.test\n\tlogin u\n\tpassword p\nmachine last login c password d": "u:p",
		"machine proxy.test login u password \"p w\" account x":                                                               "u:p%20w",
		"machine proxy.test password login login password":                                                                    "password:login",
		"# machine proxy.test login x password y\nmachine proxy.test login u password p":                                      "u:p",
		"macdef init\nmachine proxy.test login x password y\n\nmachine proxy.test login u password p":                         "u:p",
		"machine proxy.test login u\nmachine proxy.test login v password p":                                                   "v:p",
		"default login u password p":                     "",
		"machine proxy.test\ndefault login u password p": "",
		"machine proxy.test login u":                     "",
		"machine proxy.test login u password":            "",
		"machine":                                        "",
		"":                                               "",
	} {
		got := ""
		if user := cli.ParseNetrc(text, "proxy.test"); user != nil {
			got = user.String()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzNetrc(f *testing.F) {
	f.Add("machine proxy.test login u password p", "proxy.test")
	f.Add("macdef x\n\nmachine \"a b\" login \"", "a b")
	f.Fuzz(func(t *testing.T, text, host string) {
		if user := cli.ParseNetrc(text, host); user != nil && user.Username() == "" {
			t.Errorf("%q: an entry without a user", text)
		}
	})
}
