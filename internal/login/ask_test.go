package login_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/edge"
	"github.com/pomerium/pomerium-cli/internal/login"
)

func TestAsk(t *testing.T) {
	for _, tc := range []struct {
		name, token string
		status      int
		refused     bool
	}{
		{"taken", "a.b.c", 200, false},
		{"taken, of nobody", "a.b.c", 404, false},
		{"refused", "a.b.c", 401, true},
		{"none", "", 401, true},
		{"none, and no edge", "", 404, true},
		{"out of order", "a.b.c", 503, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				want := ""
				if tc.token != "" {
					want = "Pomerium " + tc.token
				}
				if r.URL.Path != "/.pomerium/user" || r.Header.Get("Authorization") != want {
					t.Errorf("asked for %s with %q", r.URL, r.Header.Get("Authorization"))
				}
				w.Header().Set("Alt-Svc", "h3")
				w.WriteHeader(tc.status)
			}))
			defer s.Close()
			u, err := url.Parse(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			header, err := login.Ask(t.Context(), u, http.DefaultTransport, tc.token)
			var answer *edge.AnswerError
			if errors.As(err, &answer) != tc.refused || tc.refused && answer.Status != tc.status || !tc.refused && err != nil {
				t.Errorf("error %v", err)
			}
			if header.Get("Alt-Svc") != "h3" {
				t.Errorf("header %v", header)
			}
		})
	}
}
