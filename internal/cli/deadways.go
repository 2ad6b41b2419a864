package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pomerium/pomerium-cli/internal/swap"
	"github.com/pomerium/pomerium-cli/proxy"
)

// maxDeadWays bounds the file: a line is less than 64 bytes.
const maxDeadWays = 256

// deadWays is a proxy.Memory that other runs of the program share: ssh starts
// one for each connection, and none should wait for the same dead proxy again.
// Its file has a line for each way, a hash of its name without user and
// password and the second until which it is dead. What cannot be read or
// written costs waiting time and nothing else.
type deadWays struct {
	path string // "": memory alone
	log  *slog.Logger

	mu    sync.Mutex
	until map[string]time.Time // by hash
}

// newDeadWays keeps them in the user's cache directory.
func newDeadWays(log *slog.Logger) *deadWays {
	d := &deadWays{log: log, until: make(map[string]time.Time)}
	if dir, err := os.UserCacheDir(); err == nil {
		d.path = filepath.Join(dir, "pomerium-cli", "dead-ways")
	}
	return d
}

// Dead implements proxy.Memory.
func (d *deadWays) Dead(way string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.read()
	_, dead := d.until[hashWay(way)]
	return dead
}

// Report implements proxy.Memory.
func (d *deadWays) Report(way string, reached bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.read()
	key := hashWay(way)
	_, known := d.until[key]
	switch {
	case reached && !known:
		return
	case reached:
		delete(d.until, key)
	default:
		d.until[key] = time.Now().Add(proxy.DeadFor)
	}
	if err := d.write(); err != nil {
		d.log.Debug("dead proxies are not kept for later runs", "err", err)
	}
}

func hashWay(way string) string {
	sum := sha256.Sum256([]byte(way))
	return hex.EncodeToString(sum[:16])
}

// read takes what the file says, which another run may have changed, in place
// of what was known. Without a file, what was known stays.
func (d *deadWays) read() {
	now := time.Now()
	if lines, err := readLines(d.path); err == nil {
		clear(d.until)
		for _, line := range lines {
			key, second, _ := strings.Cut(line, " ")
			n, err := strconv.ParseInt(second, 10, 64)
			if err == nil && len(key) == 32 {
				d.until[key] = time.Unix(n, 0)
			}
		}
	}
	for key, until := range d.until {
		// One that lies too far ahead is from a clock that has been put back.
		if !now.Before(until) || until.Sub(now) > proxy.DeadFor+time.Second {
			delete(d.until, key)
		}
	}
}

func readLines(path string) ([]string, error) {
	if path == "" {
		return nil, os.ErrNotExist
	}
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, os.ErrNotExist)
	}
	data, err := swap.Read(path, maxDeadWays*64)
	return strings.Split(string(data), "\n"), err
}

// write replaces the file in one step. Two runs that write at once lose a line,
// which costs one of them a wait.
func (d *deadWays) write() error {
	if d.path == "" {
		return errors.New("there is no cache directory")
	}
	var text strings.Builder
	lines := 0
	for key, until := range d.until {
		if lines++; lines > maxDeadWays {
			break
		}
		fmt.Fprintf(&text, "%s %d\n", key, until.Unix())
	}
	return swap.File(d.path, []byte(text.String()), 0o600)
}
