//go:build linux || darwin

package sock

import (
	"syscall"

	"golang.org/x/sys/unix"
)

type rawWriter struct {
	raw     syscall.RawConn
	attempt func(fd uintptr) bool
	pieces  [][]byte
	n       int
}

// maxPieces bounds one writev: IOV_MAX is 1024 on Linux and macOS.
const maxPieces = 64

func (w *rawWriter) init(v any) {
	w.raw = rawConn(v)
	w.attempt = func(fd uintptr) bool {
		for {
			n, err := unix.Writev(int(fd), w.pieces)
			if err == unix.EINTR {
				continue
			}
			w.n = max(n, 0)
			return true // never wait
		}
	}
}

func (w *rawWriter) try(pieces [][]byte) int {
	if w.raw == nil {
		return 0
	}
	total := 0
	for len(pieces) > 0 {
		w.pieces = pieces[:min(len(pieces), maxPieces)]
		want := 0
		for _, p := range w.pieces {
			want += len(p)
		}
		w.n = 0
		err := w.raw.Write(w.attempt)
		pieces = pieces[len(w.pieces):]
		w.pieces = nil
		total += w.n
		if err != nil || w.n < want {
			break
		}
	}
	return total
}
