package sysproxy_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/pomerium/pomerium-cli/internal/sysproxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// story tells what was said, in one line: who, what decides, or what is wrong.
func story(s sysproxy.Settings, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	told := []string{s.Source}
	if s.Script.URL != "" {
		told = append(told, "script "+s.Script.URL+" ("+s.Script.Setting+")")
	}
	var names []string
	for name, value := range s.Variables {
		names = append(names, name+"="+value)
	}
	slices.Sort(names)
	told = append(told, names...)
	for _, target := range []string{"http", "https"} {
		for _, addr := range s.Proxies[target] {
			told = append(told, fmt.Sprintf("%s: %s (%s)", target, addr.URL, addr.Setting))
		}
	}
	if s.Detect {
		told = append(told, "detect")
	}
	return strings.Join(told, "; ")
}

// excepted tells which of the targets are reached without a proxy.
func excepted(t *testing.T, s sysproxy.Settings, targets string) string {
	t.Helper()
	var direct []string
	for _, target := range strings.Fields(targets) {
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		if why, ok := s.Bypass.Match(u); ok {
			if why == "" {
				t.Errorf("%s is excepted, and nobody says why", target)
			}
			direct = append(direct, target)
		}
	}
	return strings.Join(direct, " ")
}

func none(string) string { return "" }
