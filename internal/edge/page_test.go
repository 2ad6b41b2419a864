package edge_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/edge"
)

func TestGet(t *testing.T) {
	for _, tc := range []struct {
		name, token string
		status      int
		body, want  string
	}{
		{"a page", "a.b.c", 200, "hello", ""},
		{"no token", "", 200, "hello", ""},
		{"at the limit", "a.b.c", 200, "12345678", ""},
		{"too long", "a.b.c", 200, "123456789", "longer than 8 bytes"},
		{"refused", "a.b.c", 401, "", "401 Unauthorized"},
		{"a redirect", "a.b.c", 302, "", "302 Found"},
		{"not all of it", "a.b.c", 206, "hello", "206 Partial Content"},
		{"out of order", "a.b.c", 503, "later", "503 Service Unavailable: later"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				want := "Pomerium " + tc.token
				if tc.token == "" {
					want = ""
				}
				if got := r.Header.Get("Authorization"); r.URL.String() != "/.pomerium/user" || got != want {
					t.Errorf("asked for %s with %q", r.URL, got)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tc.status)
				_, _ = w.Write([]byte(tc.body))
			}))
			defer s.Close()
			u, err := url.Parse(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			header, body, err := edge.Get(t.Context(), http.DefaultTransport, u, "/.pomerium/user", tc.token, 8)
			if header.Get("Location") != "/elsewhere" {
				t.Errorf("header %v", header)
			}
			if tc.want == "" && (err != nil || string(body) != tc.body) {
				t.Errorf("got %q, %v", body, err)
			}
			if tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || body != nil) {
				t.Errorf("got %q, %v, want an error with %q", body, err, tc.want)
			}
			if answer := (*edge.AnswerError)(nil); tc.status != 200 && (!errors.As(err, &answer) || answer.Status != tc.status) {
				t.Errorf("error %v", err)
			}
		})
	}
}
