package login

import (
	"html"
	"net/http"
	"strconv"
	"strings"
	"unicode"
)

// page is what a person sees in the browser.
type page struct {
	title string
	text  string // %edge% and %who% stand for the names of edge and person
	mark  string // the path of the sign above the title
	class string // "bad" where something went wrong
}

const (
	markCheck = "M5 12.5l4.5 4.5L19 7.5"
	markCross = "M7 7l10 10M17 7L7 17"
	markDots  = "M6 12h.01M12 12h.01M18 12h.01"
)

// The pages. None of them has anything that came with the request.
var (
	pageDone     = page{"You are signed in", "<p>pomerium-cli on this computer now connects to <b>%edge%</b> as you.</p>\n<p>You can close this window.</p>", markCheck, ""}
	pageDoneAs   = page{"You are signed in", "<p><b>%who%</b> is signed in to <b>%edge%</b>. pomerium-cli on this computer now connects there as this person.</p>\n<p>You can close this window.</p>", markCheck, ""}
	pageFailed   = page{"The sign-in did not work", "<p><b>%edge%</b> sent you back without a token that can be used.</p>\n<p>Go to the terminal where pomerium-cli waits, and open the address there again. You can close this window.</p>", markCross, "bad"}
	pageNotFound = page{"Nothing here", "<p>This is the local address where pomerium-cli waits for a sign-in. You can close this window.</p>", markDots, ""}
)

// layout is the one page, without script, image or anything from elsewhere.
const layout = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>%title% - pomerium-cli</title>
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; --back: #f5f4f8; --card: #ffffff; --text: #26213a; --soft: #5d5873; --line: #e3e0ec; --mark: #6338d9; --on: #ffffff; }
@media (prefers-color-scheme: dark) {
  :root { --back: #16131f; --card: #211d2e; --text: #f1eff7; --soft: #b3adc6; --line: #37314a; --mark: #a98bff; --on: #16131f; }
}
.bad { --mark: #b3261e; }
@media (prefers-color-scheme: dark) { .bad { --mark: #ff9d94; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-content: center; gap: 1.25rem; padding: 1.5rem; background: var(--back); color: var(--text);
  font: 1.0625rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 30rem; padding: 2.25rem 2.5rem; background: var(--card); border: 1px solid var(--line); border-radius: 1rem; }
svg { display: block; width: 3rem; height: 3rem; padding: .5rem; border-radius: 50%; background: var(--mark); stroke: var(--on);
  stroke-width: 2.5; fill: none; stroke-linecap: round; stroke-linejoin: round; }
h1 { margin: 1.25rem 0 .5rem; font-size: 1.5rem; line-height: 1.25; }
p { margin: .5rem 0 0; color: var(--soft); overflow-wrap: anywhere; }
b { color: var(--text); font-weight: 600; }
footer { text-align: center; font-size: .875rem; color: var(--soft); }
</style>
</head>
<body class="%class%">
<main>
<svg viewBox="0 0 24 24" aria-hidden="true"><path d="%mark%"/></svg>
<h1>%title%</h1>
%text%
</main>
<footer>pomerium-cli</footer>
</body>
</html>
`

// write sends the page whole: its end does not wait for the handler's.
func (p page) write(w http.ResponseWriter, status int, edge, who string) {
	text := strings.NewReplacer("%edge%", html.EscapeString(edge), "%who%", html.EscapeString(who)).Replace(p.text)
	body := strings.NewReplacer("%title%", p.title, "%text%", text, "%mark%", p.mark, "%class%", p.class).Replace(layout)
	h := w.Header()
	guard(h)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
	_ = http.NewResponseController(w).Flush()
}

// maxName bounds the length of a person's name on a page, in bytes.
const maxName = 256

// nameOf names a person on a page: "" without one.
func nameOf(u *User) string {
	if u == nil || u.Email+u.Name+u.Subject == "" {
		return ""
	}
	name := strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf) { // nothing that turns the line around
			return -1
		}
		return r
	}, strings.ToValidUTF8(u.Label(), ""))
	if len(name) > maxName {
		name = strings.ToValidUTF8(name[:maxName], "") + "..."
	}
	return name
}

// guard sets the headers that keep what is in an address, and on a page, from
// everybody but the person.
func guard(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
}
