package login_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pomerium/pomerium-cli/internal/login"
)

func TestParseUser(t *testing.T) {
	none := []string{}
	for _, tc := range []struct {
		body  string
		want  *login.User
		label string
	}{
		{`{"sub":"1","user":"2","email":"a@b.test","name":"A B","groups":["x","y"],"sid":"s"}`,
			&login.User{Subject: "1", Email: "a@b.test", Name: "A B", Groups: []string{"x", "y"}}, "a@b.test"},
		{`{"user":"2","name":"A B","groups":null}`, &login.User{Subject: "2", Name: "A B", Groups: none}, "A B"},
		{`{"sub":"1","groups":"x"}`, &login.User{Subject: "1", Groups: none}, "1"},
		{`{"sub":7,"email":["a"],"groups":["x",1,"",null]}`, &login.User{Groups: []string{"x"}}, "a user without a name"},
		{`{}`, &login.User{Groups: none}, "a user without a name"},
		{`null`, &login.User{Groups: none}, "a user without a name"},
		{`[]`, nil, ""},
		{`<html>`, nil, ""},
		{``, nil, ""},
	} {
		t.Run(tc.body, func(t *testing.T) {
			got, err := login.ParseUser([]byte(tc.body))
			if (err != nil) != (tc.want == nil) || !cmp.Equal(got, tc.want) {
				t.Fatalf("%v, %v", cmp.Diff(tc.want, got), err)
			}
			if got != nil && got.Label() != tc.label {
				t.Errorf("label %q", got.Label())
			}
		})
	}
}

func TestWhose(t *testing.T) {
	for status, want := range map[int]string{200: "a@b.test", 204: "a user without a name", 404: "a user without a name", 401: "", 403: "", 503: ""} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(`{"email":"a@b.test"}`))
		}))
		u, err := url.Parse(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		got, err := login.Whose(t.Context(), u, http.DefaultTransport, "a.b.c")
		if (err == nil) != (want != "") || err == nil && got.Label() != want {
			t.Errorf("%d: %v, %v", status, got, err)
		}
		s.Close()
	}
}

func FuzzParseUser(f *testing.F) {
	for _, seed := range []string{`{"sub":"1","user":"2","email":"a","name":"b","groups":["x"]}`, `{"groups":[[]]}`, `{"sub":{}}`, `[`, ``} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		u, err := login.ParseUser(body)
		switch {
		case (u == nil) == (err == nil):
			t.Fatalf("%v, %v", u, err)
		case err != nil && len(body) > 8 && strings.Contains(err.Error(), string(body)):
			t.Errorf("the error repeats the body: %v", err)
		case u != nil && (u.Groups == nil || u.Label() == ""):
			t.Errorf("%#v", u)
		}
	})
}
