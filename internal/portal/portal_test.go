package portal_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/pomerium/pomerium-cli/internal/edge"
	"github.com/pomerium/pomerium-cli/internal/portal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const list = `{"routes":[{"id":"1","name":"db","type":"tcp","from":"tcp+https://db.test:5432","description":"Orders","connect_command":"pomerium-cli tcp db.test:5432","logo_url":"data:x","new":1}],"mcp_status_error":"x"}`

func TestParse(t *testing.T) {
	db := portal.Route{ID: "1", Name: "db", Type: "tcp", From: "tcp+https://db.test:5432", Description: "Orders", ConnectCommand: "pomerium-cli tcp db.test:5432"}
	for body, want := range map[string][]portal.Route{
		list:               {db},
		`{"routes":[]}`:    {},
		`{}`:               {},
		`{"routes":null}`:  {},
		`{"routes":[{}]}`:  {{}},
		`{"routes":"all"}`: nil,
		`[]`:               nil,
		`<html>`:           nil,
		``:                 nil,
	} {
		got, err := portal.Parse([]byte(body))
		if (err != nil) != (want == nil) || !cmp.Equal(got, want) {
			t.Errorf("%s: %v, %v", body, cmp.Diff(want, got), err)
		}
	}
}

func TestList(t *testing.T) {
	for status, want := range map[int]int{200: 1, 401: 0, 404: 0} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/.pomerium/api/v1/routes" || r.Header.Get("Authorization") != "Pomerium a.b.c" {
				t.Errorf("asked for %s with %q", r.URL, r.Header.Get("Authorization"))
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(list))
		}))
		u, err := url.Parse(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		transport := new(http.Transport)
		got, err := portal.List(t.Context(), u, transport, "a.b.c")
		var answer *edge.AnswerError
		if len(got) != want || errors.As(err, &answer) != (status != 200) {
			t.Errorf("%d: %v, %v", status, got, err)
		}
		transport.CloseIdleConnections()
		s.Close()
	}
}

func TestMatches(t *testing.T) {
	r := portal.Route{Name: "Database", From: "tcp+https://db.test:5432", Description: "Orders of today"}
	for words, want := range map[string]bool{"": true, "database": true, "DB 5432 orders": true, "orders tomorrow": false} {
		if got := r.Matches(strings.Fields(words)); got != want {
			t.Errorf("%q: %v", words, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{list, `{"routes":[{"id":1}]}`, `{"routes":[null]}`, `{`, ``} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if routes, err := portal.Parse(body); (routes == nil) == (err == nil) {
			t.Errorf("%v, %v", routes, err)
		}
	})
}
