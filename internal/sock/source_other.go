//go:build !unix

package sock

// rawReader is never ready: this system's sockets cannot be asked without a
// buffer, so a Source reads in the ordinary way.
type rawReader struct{}

func (*rawReader) init(*Source, any)     {}
func (*rawReader) ready() bool           { return false }
func (*rawReader) read(int) (int, error) { panic("sock: no readiness on this system") }
