package pac

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"time"

	"github.com/pomerium/pomerium-cli/internal/swap"
)

// page is a script as its server sent it. What has a name in capitals is the
// first line of a copy, as JSON; the script itself follows.
type page struct {
	URL      string    `json:"url"`     // its SHA-256: it may hold a password
	Checked  time.Time `json:"checked"` // when the server last said that it is current
	Until    time.Time `json:"until"`   // when the server is to be asked again
	ETag     string    `json:"etag,omitempty"`
	Modified string    `json:"modified,omitempty"` // Last-Modified, as it came
	NoStore  bool      `json:"-"`

	body   []byte
	stamp  string // of a file
	script *Script
}

// readCopy returns nil where there is no copy that can be used; then the
// server is asked, as without one.
func (s *Source) readCopy(ctx context.Context) *page {
	if s.c.Copy == "" {
		return nil
	}
	const maxHead = 64 << 10
	data, err := swap.Read(s.c.Copy, maxSource+maxHead)
	head, body, ok := bytes.Cut(data, []byte("\n"))
	var p page
	if err != nil || !ok || json.Unmarshal(head, &p) != nil || p.URL != s.key() {
		return nil
	}
	if p.script, err = Parse(ctx, body, s.name); err != nil {
		s.c.Log.Debug("pac copy ignored", "copy", s.c.Copy, "err", err)
		return nil
	}
	p.body = body
	return &p
}

// writeCopy replaces the copy as a whole. Without one the next process asks the
// server, which is no failure of this one.
func (s *Source) writeCopy() {
	if s.c.Copy == "" {
		return
	}
	var err error
	if s.kept.NoStore {
		os.Remove(s.c.Copy)
	} else {
		err = s.replaceCopy()
	}
	if err != nil {
		s.c.Log.Debug("pac copy not written", "copy", s.c.Copy, "err", err)
	}
}

func (s *Source) replaceCopy() error {
	s.kept.URL = s.key()
	head, err := json.Marshal(s.kept)
	if err != nil {
		return err
	}
	return swap.File(s.c.Copy, append(append(head, '\n'), s.kept.body...), 0o600)
}

func (s *Source) key() string {
	sum := sha256.Sum256([]byte(s.url.String()))
	return hex.EncodeToString(sum[:])
}
