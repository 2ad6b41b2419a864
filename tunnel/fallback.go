package tunnel

import "github.com/pomerium/pomerium-cli/internal/h2connect"

// fallBack turns to HTTP/1.1 for good if err says that the edge, or what
// intercepts TLS on the way, agrees on h2 and does not carry CONNECT on it. One
// that knows of no CONNECT takes it for malformed; from one that has opened a
// tunnel, the same word is about this request alone.
func (p *pool) fallBack(err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !h2connect.Wants11(err) && (p.carries || !h2connect.Malformed(err)) {
		return false
	}
	p.h1, p.only11 = true, true
	return true
}

// carried notes that the edge does carry CONNECT on h2, whatever a request
// beside this one has met.
func (p *pool) carried() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.carries = true; p.only11 {
		p.h1, p.only11 = false, false
	}
}
