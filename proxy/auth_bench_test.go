package proxy_test

import "testing"

// BenchmarkAuth is a tunnel in each scheme, after the first, on loopback; the
// proxy's side of it is in the numbers.
func BenchmarkAuth(b *testing.B) {
	for name, start := range gates {
		if start == nil {
			continue // not on this system
		}
		b.Run(name, func(b *testing.B) {
			g := start(b)
			h := g.serve(b, "http").hop(b, g, true)
			for b.Loop() {
				conn, err := h.DialContext(b.Context(), "tcp", target)
				if err != nil {
					b.Fatal(err)
				}
				conn.Close()
			}
		})
	}
}
