package pac_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/pac"
)

// BenchmarkFind is a run of a short script, and of one with many rules none of
// which matches.
func BenchmarkFind(b *testing.B) {
	var rules strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&rules, "if (shExpMatch(host, '*.site%d.example.org')) return 'DIRECT';\n", i)
	}
	for _, size := range []struct{ name, rules string }{{"short", ""}, {"5000 rules", rules.String()}} {
		source := "function FindProxyForURL(url, host) {\n" + size.rules + "return 'PROXY a:1' }"
		b.Run("parse/"+size.name, func(b *testing.B) {
			for b.Loop() {
				parse(b, source)
			}
		})
		script := parse(b, source)
		b.Run("run/"+size.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := script.Find(b.Context(), edge, pac.Env{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
