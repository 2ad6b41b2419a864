package sock

import "sync"

// Sizes of the pooled buffers, in bytes. A connection starts with small ones
// and takes large ones only once it moves bulk: large ones from the start make
// a burst of new tunnels slower, small ones for good cost a system call every
// 16 KiB.
const (
	SmallBuffer = 16 << 10
	LargeBuffer = 128 << 10
)

// A Buffer comes from a pool and goes back to it with Free. B has its full
// length when it is taken.
type Buffer struct {
	B []byte

	pool *sync.Pool
}

var smallPool, largePool sync.Pool

// TakeBuffer returns a small buffer, or a large one.
func TakeBuffer(large bool) *Buffer {
	pool, size := &smallPool, SmallBuffer
	if large {
		pool, size = &largePool, LargeBuffer
	}
	if b, _ := pool.Get().(*Buffer); b != nil {
		return b
	}
	return &Buffer{B: make([]byte, size), pool: pool}
}

// Free gives the buffer back; it must not be used afterwards. A nil buffer may
// be freed.
func (b *Buffer) Free() {
	if b == nil {
		return
	}
	b.B = b.B[:cap(b.B)]
	b.pool.Put(b)
}
