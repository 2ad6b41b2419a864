package h2connect

import (
	"sync"

	"github.com/pomerium/pomerium-cli/internal/sock"
)

// A queue holds bytes that the local end has not taken yet, in pooled buffers
// that are cut to what they hold.
type queue struct {
	bufs []*sock.Buffer
	off  int // bytes of the first buffer that are taken
	size int
}

// add copies what lies in pieces behind the first skip bytes.
func (q *queue) add(pieces [][]byte, skip, total int) {
	rest := total - skip
	for _, p := range pieces {
		if skip >= len(p) {
			skip -= len(p)
			continue
		}
		p = p[skip:]
		skip = 0
		for len(p) > 0 {
			b := q.room(rest)
			n := len(b.B)
			k := copy(b.B[n:cap(b.B)], p)
			b.B = b.B[:n+k]
			p = p[k:]
			rest -= k
			q.size += k
		}
	}
}

// room returns a buffer with space, the larger kind if more is to come.
func (q *queue) room(more int) *sock.Buffer {
	if n := len(q.bufs); n > 0 {
		if b := q.bufs[n-1]; len(b.B) < cap(b.B) {
			return b
		}
	}
	b := sock.TakeBuffer(more > sock.SmallBuffer)
	b.B = b.B[:0]
	q.bufs = append(q.bufs, b)
	return b
}

// read moves bytes to p.
func (q *queue) read(p []byte) int {
	n := 0
	for len(q.bufs) > 0 && n < len(p) {
		b := q.bufs[0]
		k := copy(p[n:], b.B[q.off:])
		n += k
		q.off += k
		if q.off == len(b.B) {
			b.Free()
			q.bufs = q.bufs[1:]
			q.off = 0
		}
	}
	q.size -= n
	return n
}

// take empties the queue: the caller writes the pieces and frees the buffers.
// At most limit bytes, by whole buffers, and at least one buffer.
func (q *queue) take(limit int) (bufs []*sock.Buffer, pieces [][]byte, size int) {
	for len(q.bufs) > 0 && (size == 0 || size+len(q.bufs[0].B) <= limit) {
		b := q.bufs[0]
		p := b.B[q.off:]
		bufs, pieces = append(bufs, b), append(pieces, p)
		size += len(p)
		q.bufs = q.bufs[1:]
		q.off = 0
	}
	q.size -= size
	return bufs, pieces, size
}

func (q *queue) drop() {
	for _, b := range q.bufs {
		b.Free()
	}
	*q = queue{}
}

// A Limit bounds what the queues of several connections hold together. Past
// it, the stream with the longest queue is reset.
type Limit struct {
	Max int // bytes

	mu      sync.Mutex
	total   int
	streams map[*Stream]int
}

// change notes that the queue of s grew by n (shrank, if negative), and returns
// the stream that has to go, if one has.
func (l *Limit) change(s *Stream, n int) *Stream {
	if l == nil || n == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.streams == nil {
		l.streams = map[*Stream]int{}
	}
	l.total += n
	l.streams[s] += n
	if l.streams[s] == 0 { // it may be negative for a moment: what is added is told after it is queued
		delete(l.streams, s)
	}
	if l.total <= l.Max || n < 0 {
		return nil
	}
	longest, most := s, 0
	for s, size := range l.streams {
		if size > most {
			longest, most = s, size
		}
	}
	return longest
}
