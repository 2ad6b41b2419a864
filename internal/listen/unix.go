package listen

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"github.com/pomerium/pomerium-cli/internal/sock"
)

// answerTimeout bounds how long a socket file may take to show that somebody
// still listens on it. A live listener's kernel answers at once.
const answerTimeout = time.Second

// unixListener removes its socket file when it is closed, unless another
// program has put its own there meanwhile.
type unixListener struct {
	*net.UnixListener
	path string
	info fs.FileInfo
}

func checkUnix(path string) error {
	switch {
	case path == "":
		return &Error{Spec: unixPrefix, Reason: Malformed, Err: errors.New("unix: without a path")}
	case strings.HasPrefix(path, "@"):
		// Linux takes it for a name in the abstract space, which has no owner
		// and no mode: every user of the machine could use the tunnel.
		return &Error{Spec: unixPrefix + path, Reason: Malformed, Err: errors.New("a socket without a file has no owner: give a path")}
	case strings.ContainsRune(path, 0):
		return &Error{Spec: unixPrefix + path, Reason: Malformed, Err: errors.New("a path cannot contain a zero byte")}
	}
	return nil
}

// openUnix listens on a socket file that only its owner can open. A file left
// behind by a program that is gone is replaced; anything else there is not.
func openUnix(path string) (net.Listener, error) {
	if err := checkUnix(path); err != nil {
		return nil, err
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	ln, err := bindPrivate(path)
	if err != nil {
		return nil, unixError(path, err)
	}
	ln.SetUnlinkOnClose(false) // we do it ourselves, in Close
	info, err := os.Lstat(path)
	if err != nil {
		_ = ln.Close()
		return nil, unixError(path, err)
	}
	return &unixListener{UnixListener: ln, path: path, info: info}, nil
}

// removeStale removes a socket file on which nobody answers.
func removeStale(path string) error {
	before, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return unixError(path, err)
	}
	if before.Mode()&fs.ModeSocket == 0 {
		return &Error{Spec: unixPrefix + path, Reason: NotASocket, Err: fs.ErrExist}
	}
	dialer := net.Dialer{Timeout: answerTimeout}
	c, err := dialer.DialContext(context.Background(), "unix", path)
	if err == nil {
		_ = c.Close()
		return &Error{Spec: unixPrefix + path, Reason: InUse, Err: sock.ErrInUse}
	}
	if !errors.Is(err, sock.ErrRefused) {
		// Full backlog, no permission, a datagram socket: somebody may be there.
		return &Error{Spec: unixPrefix + path, Reason: InUse, Err: bare(err)}
	}
	// Another of us may have replaced it since; what we looked at must still be it.
	if after, err := os.Lstat(path); err != nil || !same(before, after) {
		return &Error{Spec: unixPrefix + path, Reason: InUse, Err: sock.ErrInUse}
	}
	if err := os.Remove(path); err != nil {
		return unixError(path, err)
	}
	return nil
}

// Close stops listening and removes the socket file.
func (l *unixListener) Close() error {
	if now, err := os.Lstat(l.path); err == nil && same(l.info, now) {
		_ = os.Remove(l.path)
	}
	return l.UnixListener.Close()
}

// same reports whether two looks saw one file. File systems give the number of
// a removed file to the next one, hence the time as well.
func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime())
}

func unixError(path string, err error) error {
	e := &Error{Spec: unixPrefix + path, Err: bare(err)}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		e.Err = pe.Err
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		e.Reason = Forbidden
	case errors.Is(err, sock.ErrInUse):
		e.Reason = InUse
	}
	return e
}
