package login

import (
	"html"
	"net/http"
	"strconv"
	"strings"
)

// page is what a person sees in the browser.
type page struct {
	title string
	text  string // %edge% stands for the edge's name
}

// The pages. None of them has anything that came with the request.
var (
	pageDone     = page{"You are signed in", "pomerium-cli on this computer now connects to %edge% as you. You can close this window."}
	pageUsed     = page{"This sign-in is over", "pomerium-cli has had its answer from %edge% already. You can close this window."}
	pageFailed   = page{"The sign-in did not work", "%edge% sent you back without a token. Look at the terminal where pomerium-cli waits, and open the address there again."}
	pageNotFound = page{"Nothing here", "This is the local address where pomerium-cli waits for a sign-in. You can close this window."}
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
:root { color-scheme: light dark; --back: #f5f4f8; --card: #fff; --text: #26213a; --soft: #5d5873; --line: #e3e0ec; --mark: #6f43e7; }
@media (prefers-color-scheme: dark) {
  :root { --back: #16131f; --card: #211d2e; --text: #f1eff7; --soft: #b3adc6; --line: #37314a; --mark: #a98bff; }
}
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.5rem; background: var(--back); color: var(--text);
  font: 1.0625rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 30rem; padding: 2.25rem 2.5rem; background: var(--card); border: 1px solid var(--line); border-top: 4px solid var(--mark); border-radius: .75rem; }
h1 { margin: 0 0 .5rem; font-size: 1.5rem; line-height: 1.25; }
p { margin: 0; color: var(--soft); overflow-wrap: anywhere; }
</style>
</head>
<body>
<main>
<h1>%title%</h1>
<p>%text%</p>
</main>
</body>
</html>
`

// write sends the page whole: its end does not wait for the handler's.
func (p page) write(w http.ResponseWriter, status int, edge string) {
	edge = html.EscapeString(edge)
	body := strings.NewReplacer("%title%", p.title, "%text%", strings.ReplaceAll(p.text, "%edge%", edge)).Replace(layout)
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
	_ = http.NewResponseController(w).Flush()
}
