package lab

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// request is what the edge decides on, whatever version of HTTP brought it.
type request struct {
	id        string // x-request-id of the answer
	method    string
	authority string
	path      string // with the query; empty for CONNECT
	header    http.Header
}

func newRequest(method, authority, path string, header http.Header) *request {
	b := make([]byte, 16)
	rand.Read(b)
	id := fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	return &request{id, method, authority, path, header}
}

type field struct{ name, value string }

// answer is a response with its body; for a tunnel that opened, the head alone.
type answer struct {
	status int
	header []field
	body   string
	drain  bool // GOAWAY on the connection that the answer leaves by
}

// fields returns the header with what Envoy adds to every answer.
func (a *answer) fields(r *request) []field {
	return append([]field{
		{"date", time.Now().UTC().Format(http.TimeFormat)}, {"server", "envoy"}, {"x-request-id", r.id},
	}, a.header...)
}

// head encodes the answer's head for HTTP/1.1.
func (a *answer) head(r *request, closing bool) []byte {
	b := fmt.Appendf(nil, "HTTP/1.1 %d %s\r\n", a.status, http.StatusText(a.status))
	for _, f := range a.fields(r) {
		b = fmt.Appendf(b, "%s: %s\r\n", f.name, f.value)
	}
	if r.method != http.MethodConnect || a.status/100 != 2 {
		b = fmt.Appendf(b, "content-length: %d\r\n", len(a.body))
	}
	if closing {
		b = append(b, "connection: close\r\n"...)
	}
	return append(b, "\r\n"...)
}

func text(status int, body string) *answer {
	return &answer{status: status, header: []field{{"content-type", "text/plain; charset=utf-8"}}, body: body}
}

func jsonAnswer(status int, v any) *answer {
	b, _ := json.Marshal(v) // maps of strings and plain structs: cannot fail
	return &answer{status: status, header: []field{{"content-type", "application/json"}}, body: string(b)}
}

func redirect(to, body string) *answer {
	return &answer{status: http.StatusFound, body: body,
		header: []field{{"location", to}, {"content-type", "text/html; charset=UTF-8"}}}
}

// byPomerium is an answer of the authorize service (PROTOCOL.md 2.2, author A).
func byPomerium(r *request, status int, reason string) *answer {
	if r.wantsJSON() {
		return jsonAnswer(status, map[string]string{"error": reason, "request_id": r.id})
	}
	return &answer{status: status, body: page(fmt.Sprintf("%d %s", status, reason), "Request ID: "+r.id),
		header: []field{{"content-type", "text/html; charset=UTF-8"}, {"x-pomerium-intercepted-response", "true"}}}
}

// wantsJSON reads Accept as far as clients of ours use it: it names one kind.
func (r *request) wantsJSON() bool {
	return strings.Contains(r.header.Get("Accept"), "application/json")
}

// byEnvoy is a local reply of Envoy with a response flag (author B). Its reading of Accept is
// crude: whole media types, blanks not trimmed, */* is HTML.
func byEnvoy(r *request, status int, detail string) *answer {
	for kind := range strings.SplitSeq(r.header.Get("Accept"), ",") {
		if kind == "application/json" || kind == "text/plain" {
			a := jsonAnswer(status, map[string]string{
				"requestId": r.id, "status": strconv.Itoa(status), "statusText": detail})
			a.header[0].value = kind
			return a
		}
	}
	return &answer{status: status, header: []field{{"content-type", "text/html; charset=UTF-8"}},
		body: page(fmt.Sprintf("%d %s", status, http.StatusText(status)), detail+"<br>Request ID: "+r.id)}
}

func page(title, body string) string {
	return "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>" + title +
		"</title></head>\n<body><h1>" + title + "</h1>\n<p>" + body + "</p></body></html>\n"
}
