package edge_test

import (
	"net/http"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/pomerium/pomerium-cli/internal/edge"
)

const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJqdGkiOiJjYW5hcnkifQ.c2lnbmF0dXJlLW9mLWNhbmFyeQ"

// answers are the bodies of PROTOCOL.md sections 2.2, 2.3 and 13.
var answers = []struct {
	name   string
	status int
	header http.Header
	body   string
	want   edge.AnswerError // Edge, Destination and Status are filled in
	text   string
}{
	{
		name:   "denied, JSON",
		status: 403,
		header: http.Header{"X-Request-Id": {"5c1e"}, "Content-Type": {"application/json"}, "Server": {"envoy"}},
		body:   `{"error":"Forbidden","request_id":"5c1e"}`,
		want:   edge.AnswerError{Author: edge.AuthorPomerium, Reason: "Forbidden", RequestID: "5c1e"},
		text:   "edge pomerium.example.com: 403 Forbidden for db.internal:5432 (request id 5c1e)",
	},
	{
		name:   "denied, the id in the body alone",
		status: 403,
		body:   `{"error":"Forbidden: not in group","request_id":"5c1e"}`,
		want:   edge.AnswerError{Author: edge.AuthorPomerium, Reason: "Forbidden: not in group", RequestID: "5c1e"},
		text:   "edge pomerium.example.com: 403 Forbidden for db.internal:5432: Forbidden: not in group (request id 5c1e)",
	},
	{
		name:   "denied, HTML with data for a script",
		status: 403,
		header: http.Header{"X-Pomerium-Intercepted-Response": {"true"}, "Content-Type": {"text/html; charset=UTF-8"}, "Server": {"envoy"}},
		body: `<!DOCTYPE html><html><head><title>403 Forbidden</title></head><body><noscript>You need to enable JavaScript</noscript>
<script>
 window.POMERIUM_DATA = {"page":"Error","requestId":"77aa","status":403,"statusText":"Forbidden"};
</script></body></html>`,
		want: edge.AnswerError{Author: edge.AuthorPomerium, Reason: "Forbidden", RequestID: "77aa"},
		text: "edge pomerium.example.com: 403 Forbidden for db.internal:5432 (request id 77aa)",
	},
	{
		name:   "denied, plain HTML",
		status: 403,
		header: http.Header{"X-Pomerium-Intercepted-Response": {"true"}, "Content-Type": {"text/html"}},
		body:   "<html><head><style>p{}</style></head><body><h1>Not\r\n&amp; never</h1><script>x < y</script><p>ask</p></body>",
		want:   edge.AnswerError{Author: edge.AuthorPomerium, Reason: "Not & never ask"},
		text:   "edge pomerium.example.com: 403 Forbidden for db.internal:5432: Not & never ask",
	},
	{
		name:   "wrong kind of route",
		status: 403,
		header: http.Header{"X-Request-Id": {"0b"}, "Server": {"envoy"}},
		want:   edge.AnswerError{Author: edge.AuthorNone, RequestID: "0b"},
		text:   "edge pomerium.example.com: 403 Forbidden for db.internal:5432 (request id 0b)",
	},
	{
		name:   "no route, JSON",
		status: 404,
		header: http.Header{"Content-Type": {"application/json"}},
		body:   `{"requestId":"9f","status":"404","statusText":"route_not_found"}`,
		want:   edge.AnswerError{Author: edge.AuthorProxy, Reason: "route_not_found", RequestID: "9f"},
		text:   "edge pomerium.example.com: 404 Not Found for db.internal:5432: route_not_found (request id 9f)",
	},
	{
		name:   "no route, HTML of the proxy",
		status: 404,
		header: http.Header{"Content-Type": {"text/html"}, "Server": {"envoy"}},
		body:   `<title>Error</title><script>window.POMERIUM_DATA = {"requestId":"9f","statusText":"route_not_found"}</script>`,
		want:   edge.AnswerError{Author: edge.AuthorProxy, Reason: "route_not_found", RequestID: "9f"},
		text:   "edge pomerium.example.com: 404 Not Found for db.internal:5432: route_not_found (request id 9f)",
	},
	{
		name:   "upstream down",
		status: 503,
		body:   `{"requestId":"1","status":"503","statusText":"upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}"}`,
		want: edge.AnswerError{
			Author: edge.AuthorProxy, RequestID: "1",
			Reason: "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}",
		},
		text: "edge pomerium.example.com: 503 Service Unavailable for db.internal:5432: upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused} (request id 1)",
	},
	{
		name:   "authorization service down",
		status: 503,
		header: http.Header{"Server": {"envoy"}},
		want:   edge.AnswerError{Author: edge.AuthorNone},
		text:   "edge pomerium.example.com: 503 Service Unavailable for db.internal:5432",
	},
	{
		name:   "too slow, plain text",
		status: 408,
		header: http.Header{"Server": {"envoy"}, "Content-Type": {"text/plain"}},
		body:   "request timeout",
		want:   edge.AnswerError{Author: edge.AuthorProxy, Reason: "request timeout"},
		text:   "edge pomerium.example.com: 408 Request Timeout for db.internal:5432",
	},
	{
		name:   "a middlebox",
		status: 502,
		header: http.Header{"Content-Type": {"text/html"}},
		body:   "<html><title>\n Blocked\tby policy </title>",
		want:   edge.AnswerError{Author: edge.AuthorNone, Reason: "Blocked by policy"},
		text:   "edge pomerium.example.com: 502 Bad Gateway for db.internal:5432: Blocked by policy",
	},
	{
		name:   "what kubectl is told",
		status: 401,
		body:   `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"unauthenticated","reason":"Unauthorized","code":401}`,
		want:   edge.AnswerError{Author: edge.AuthorPomerium, Reason: "unauthenticated"},
		text:   "edge pomerium.example.com: 401 Unauthorized for db.internal:5432: unauthenticated",
	},
	{
		name:   "the sign-in API",
		status: 400,
		body:   `{"Status":400,"Error":"","RequestID":"ab"}`,
		want:   edge.AnswerError{Author: edge.AuthorPomerium, RequestID: "ab"},
		text:   "edge pomerium.example.com: 400 Bad Request for db.internal:5432 (request id ab)",
	},
	{
		name:   "device",
		status: 450,
		body:   `{"error":"Device Unauthorized"}`,
		want:   edge.AnswerError{Author: edge.AuthorPomerium, Reason: "Device Unauthorized"},
		text:   "edge pomerium.example.com: 450 Device Not Authorized for db.internal:5432: Device Unauthorized",
	},
	{
		name:   "client certificate",
		status: 495,
		body:   `{"error":"Client Certificate Required"}`,
		want:   edge.AnswerError{Author: edge.AuthorPomerium, Reason: "Client Certificate Required"},
		text:   "edge pomerium.example.com: 495 Client Certificate Required for db.internal:5432",
	},
	{
		name:   "control characters, bidirectional marks, broken UTF-8",
		status: 599,
		header: http.Header{"X-Request-Id": {"a\x1b[31m\u202eb"}},
		body:   "a\x1b[2Jb\x00\xff\u202ec\r\nd",
		want:   edge.AnswerError{Reason: "a [2Jb c d", RequestID: "a [31mb"},
		text:   "edge pomerium.example.com: 599 for db.internal:5432: a [2Jb c d (request id a [31mb)",
	},
	{
		name:   "our own request echoed",
		status: 400,
		body:   "bad request: x-token=" + jwt + "&y Pomerium canary-canary-canary Host: h aUTHORIZATION: canary",
		want:   edge.AnswerError{Reason: "bad request: x-token=[token] Pomerium [credential] Host: h [credential]"},
		text:   "edge pomerium.example.com: 400 Bad Request for db.internal:5432: bad request: x-token=[token] Pomerium [credential] Host: h [credential]",
	},
	{
		name:   "JSON that says nothing",
		status: 500,
		body:   `{"error":{"code":1},"statusText":null}`,
		want:   edge.AnswerError{},
		text:   "edge pomerium.example.com: 500 Internal Server Error for db.internal:5432",
	},
}

func TestNewAnswerError(t *testing.T) {
	for _, test := range answers {
		t.Run(test.name, func(t *testing.T) {
			got := edge.NewAnswerError("pomerium.example.com", "db.internal:5432", test.status, test.header, []byte(test.body))
			want := test.want
			want.Edge, want.Destination, want.Status = "pomerium.example.com", "db.internal:5432", test.status
			if d := cmp.Diff(&want, got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			if got.Error() != test.text {
				t.Errorf("got  %s\nwant %s", got, test.text)
			}
		})
	}
}

func TestNewAnswerErrorIsBounded(t *testing.T) {
	body := []byte("<html>" + strings.Repeat("ä ", 10<<20))
	got := edge.NewAnswerError("e", "", 500, nil, body)
	if len(got.Reason) > 250 || !strings.HasSuffix(got.Reason, "ä...") {
		t.Errorf("reason of %d bytes: %s", len(got.Reason), got.Reason)
	}
}

// The edge's answers that mean "sign in", and those that do not.
func TestEdgeCase44_SignIn(t *testing.T) {
	for status, want := range map[int]bool{
		200: false, 301: true, 302: true, 303: true, 304: false, 307: true, 308: true,
		400: false, 401: true, 403: false, 404: false, 407: false, 408: false, 421: false,
		429: false, 450: false, 495: false, 500: false, 502: false, 503: false, 504: false,
	} {
		if got := edge.NewAnswerError("e", "d:1", status, nil, nil).SignIn(); got != want {
			t.Errorf("%d: got %t, want %t", status, got, want)
		}
	}
}

// A redirect to anywhere else is not the edge's word about a token.
func TestEdgeCase44_Astray(t *testing.T) {
	intercepted := http.Header{"X-Pomerium-Intercepted-Response": {"true"}}
	for location, c := range map[string]struct {
		more   http.Header
		signIn bool
		reason string
	}{
		"https://authenticate.test/.pomerium/sign_in?x=y": {nil, true, ""},
		"/.pomerium/webauthn":                             {nil, true, ""},
		"/elsewhere":                                      {nil, true, ""},
		"https://%zz/":                                    {nil, true, ""},
		"https://idp.test/login":                          {intercepted, true, ""},
		"https://user:canary@block.test/why?url=canary":   {nil, false, "sent on to block.test"},
	} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			h := c.more.Clone()
			if h == nil {
				h = http.Header{}
			}
			h.Set("Location", location)
			e := edge.NewAnswerError("e", "d:1", status, h, nil)
			if e.SignIn() != c.signIn || e.Reason != c.reason {
				t.Errorf("%d to %s: %t, %q", status, location, e.SignIn(), e.Reason)
			}
		}
		if !edge.NewAnswerError("e", "d:1", 401, http.Header{"Location": {location}}, nil).SignIn() {
			t.Errorf("401 with %s", location)
		}
	}
}

func TestAuthorString(t *testing.T) {
	for author, want := range map[edge.Author]string{edge.AuthorNone: "none", edge.AuthorPomerium: "pomerium", edge.AuthorProxy: "proxy"} {
		if author.String() != want {
			t.Errorf("got %s, want %s", author, want)
		}
	}
}

func TestSetCredential(t *testing.T) {
	for token, want := range map[string]string{
		jwt:                    "Pomerium " + jwt,
		"":                     "",
		"two words":            "",
		"x\r\nHost: elsewhere": "",
		"ünicode":              "",
	} {
		h := http.Header{"Authorization": {"Pomerium old"}, "Accept": {"text/html"}}
		edge.SetCredential(h, token)
		if got := h.Get("Authorization"); got != want {
			t.Errorf("%q: got %q, want %q", token, got, want)
		}
		if got := h.Values("Accept"); len(got) != 1 || got[0] != "application/json" {
			t.Errorf("Accept: %q", got)
		}
	}
}

func FuzzNewAnswerError(f *testing.F) {
	for _, test := range answers {
		f.Add(test.status, test.header.Get("Content-Type"), test.header.Get("X-Request-Id"), []byte(test.body))
	}
	f.Add(403, "text/html", "", []byte("<title>"+jwt+"</title"))
	f.Add(403, "text/html", "", []byte("<script><script>&#101;yJ<!--"))
	f.Fuzz(func(t *testing.T, status int, contentType, id string, body []byte) {
		h := http.Header{"Content-Type": {contentType}, "X-Request-Id": {id}}
		e := edge.NewAnswerError("e", "d:1", status, h, body)
		text := e.Error()
		if len(text) > 600 {
			t.Errorf("%d bytes of error", len(text))
		}
		if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q does not print", text)
		}
		if strings.Contains(text, "eyJ") {
			t.Errorf("a token in %q", text)
		}
	})
}
