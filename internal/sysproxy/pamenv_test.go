package sysproxy_test

import (
	"testing"

	"github.com/pomerium/pomerium-cli/internal/sysproxy"
)

func TestEnvironment(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "/etc/environment",
		"PATH=\"/bin\"\nLANG=C\n": "/etc/environment",
		"https_proxy=http://p.test:3128\nNO_PROXY=a,b": "/etc/environment; NO_PROXY=a,b; https_proxy=http://p.test:3128",
		"  export HTTPS_PROXY=p.test:1  \n":            "/etc/environment; HTTPS_PROXY=p.test:1",
		"https_proxy=\"http://p.test:1\"\r\n":          "/etc/environment; https_proxy=http://p.test:1",
		"https_proxy='http://p.test:1'":                "/etc/environment; https_proxy=http://p.test:1",
		"https_proxy='http://p.test:1":                 "/etc/environment; https_proxy=http://p.test:1",
		"https_proxy=http://p.test:1 # the proxy":      "/etc/environment; https_proxy=http://p.test:1",
		"#https_proxy=http://p.test:1":                 "/etc/environment",
		"https_proxy=a\nhttps_proxy=b":                 "/etc/environment; https_proxy=b",
		"https_proxy=":                                 "/etc/environment; https_proxy=",
		"https_proxy":                                  "/etc/environment",
		"https_proxy =a":                               "/etc/environment",
		"all_proxy=$OTHER":                             "/etc/environment; all_proxy=$OTHER",
	} {
		if got := story(sysproxy.ParseEnvironment(text), nil); got != want {
			t.Errorf("%q:\n got %s\nwant %s", text, got, want)
		}
	}
}
