package sysproxy

import (
	"slices"
	"strings"
)

const environmentFile = "/etc/environment"

// proxyVariables are those that matter, in lower case.
var proxyVariables = []string{"http_proxy", "https_proxy", "all_proxy", "no_proxy"}

// parseEnvironment understands /etc/environment as pam_env does: KEY=value, also
// after "export"; a # ends the line wherever it is; quotes around the value are
// dropped, and nothing in it is special.
func parseEnvironment(text string) Settings {
	s := Settings{Source: environmentFile}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimPrefix(strings.TrimSpace(line), "export ")
		key, value, ok := strings.Cut(line, "=")
		if !ok || !slices.Contains(proxyVariables, strings.ToLower(key)) {
			continue
		}
		if value != "" && strings.Contains(`"'`, value[:1]) {
			value = strings.TrimSuffix(strings.TrimSuffix(value[1:], `"`), `'`)
		}
		if s.Variables == nil {
			s.Variables = make(map[string]string)
		}
		s.Variables[key] = value
	}
	return s
}
