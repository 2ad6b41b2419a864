package proxy

import (
	"bufio"
	"bytes"
	"html"
	"io"
	"net/http/httputil"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	maxBody  = 256 << 10 // bytes of a body that are read so that its connection can be used again
	maxGist  = 200       // runes of a body that are shown
	bodyWait = time.Second
)

// drain reads the answer's body so that the next answer can be read behind it,
// if its end can be found without waiting for the end of the connection.
func (w *wire) drain(r *reply) bool {
	if _, chunked, framed := r.framing(); !chunked && !framed {
		return false
	}
	_, whole := w.body(r)
	return whole
}

// body reads the answer's body. whole says that the connection is now at the
// beginning of the next answer; otherwise it has to be closed.
func (w *wire) body(r *reply) (text []byte, whole bool) {
	// The answer is known; its explanation is not worth a long wait.
	w.conn.SetReadDeadline(time.Now().Add(bodyWait))
	defer func() {
		if whole {
			w.conn.SetReadDeadline(time.Time{})
		}
	}()
	var b bytes.Buffer
	length, chunked, framed := r.framing()
	switch {
	case chunked:
		br := bufio.NewReader(w)
		_, err := io.Copy(&b, io.LimitReader(httputil.NewChunkedReader(br), maxBody+1))
		whole = err == nil && b.Len() <= maxBody && endTrailer(br) && br.Buffered() == 0
	case framed:
		n, err := io.Copy(&b, io.LimitReader(w, min(length, maxBody)))
		whole = err == nil && n == length
	default: // until the end of the connection, RFC 9112 6.3
		io.Copy(&b, io.LimitReader(w, maxBody))
	}
	return b.Bytes(), whole && len(w.in) == 0
}

// framing says how the end of the body is found. A head that says it in two
// ways is not trusted (RFC 9112 6.3): the body ends with the connection.
func (r *reply) framing() (length int64, chunked, framed bool) {
	codings, lengths := r.tokens("Transfer-Encoding"), r.tokens("Content-Length")
	if len(codings) > 0 {
		return 0, len(codings) == 1 && codings[0] == "chunked" && len(lengths) == 0, false
	}
	if len(lengths) == 0 {
		return 0, false, false
	}
	for _, l := range lengths[1:] {
		if l != lengths[0] {
			return 0, false, false
		}
	}
	n, err := strconv.ParseUint(lengths[0], 10, 63)
	return int64(n), false, err == nil
}

// endTrailer reads the lines behind the last chunk.
func endTrailer(br *bufio.Reader) bool {
	for range 100 {
		line, err := br.ReadSlice('\n')
		if err != nil {
			return false
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return true
		}
	}
	return false
}

// gist is what a person needs to read of a body: one line of plain text.
func gist(r *reply, body []byte) string {
	if r.header.Get("Content-Encoding") != "" {
		return ""
	}
	text := string(body)
	isHTML := strings.Contains(strings.ToLower(r.header.Get("Content-Type")), "html") ||
		strings.HasPrefix(strings.TrimSpace(text), "<")
	if isHTML {
		text = plain(text)
	}
	return printable(text)
}

// plain is the title of a page, or else all its text.
func plain(page string) string {
	element := regexp.MustCompile(`(?s)<[^>]*(>|$)`)
	text := ""
	if m := regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title`).FindStringSubmatch(page); m != nil {
		text = strings.TrimSpace(element.ReplaceAllString(m[1], " "))
	}
	if text == "" {
		unseen := regexp.MustCompile(`(?is)<(script|style|head)\b.*?</(script|style|head)>|<!--.*?-->`)
		text = element.ReplaceAllString(unseen.ReplaceAllString(page, " "), " ")
	}
	return html.UnescapeString(text)
}

// printable makes one line of s, without what a terminal would obey.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r), r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	return strings.Join(strings.Fields(s), " ")
}

// quote bounds a printable text of the proxy. A text that has a secret of ours
// in it, because the proxy sends back what it was sent, is not quoted at all.
func quote(text string, secrets []string) string {
	if strings.Contains(strings.ToLower(text), "proxy-authorization") {
		return ""
	}
	for _, secret := range secrets {
		if secret = printable(secret); secret != "" && strings.Contains(text, secret) {
			return ""
		}
	}
	if runes := []rune(text); len(runes) > maxGist {
		return string(runes[:maxGist]) + "…"
	}
	return text
}
