package cli

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"unicode/utf8"
)

// A terminal is the one that the person sits at, whatever standard input is: that
// may be the tunnel. It is opened when it is needed.
type terminal struct {
	open func() (in, out *os.File, err error) // nil: the process's own

	once    sync.Once
	in, out *os.File
	err     error
	turn    chan struct{} // holds one value while somebody asks
	show    func()        // undoes what the one who asks did to the terminal
	lines   chan string   // from the goroutine that reads in
	gone    chan struct{} // closed by Close
	reading sync.Once
}

func (t *terminal) reach() error {
	t.once.Do(func() {
		open := t.open
		if open == nil {
			open = ownTerminal
		}
		t.turn = make(chan struct{}, 1)
		t.lines, t.gone = make(chan string), make(chan struct{})
		t.in, t.out, t.err = open()
	})
	return t.err
}

// Close gives the terminal back.
func (t *terminal) Close() {
	t.once.Do(func() { t.err = os.ErrClosed })
	if t.err != nil {
		return
	}
	close(t.gone)
	_ = t.in.Close()
	if t.out != t.in {
		_ = t.out.Close()
	}
}

// Say writes lines.
func (t *terminal) Say(lines ...string) error {
	if err := t.reach(); err != nil {
		return err
	}
	_, err := io.WriteString(t.out, strings.Join(lines, "\n")+"\n")
	return err
}

// Ask writes a prompt and returns the line that the person enters. What is hidden
// is not shown. The end of ctx leaves the terminal as it was.
func (t *terminal) Ask(ctx context.Context, prompt string, hidden bool) (string, error) {
	write := func() error {
		_, err := io.WriteString(t.out, prompt)
		return err
	}
	ask := t.ask
	if hidden {
		ask = t.AskHidden
	}
	line, err := ask(ctx, write)
	if t.err == nil && (hidden || err != nil) {
		_, _ = io.WriteString(t.out, "\n") // the person's own was hidden, too, or there was none
	}
	return line, err
}

// AskHidden is Ask for a line that is not shown, and may be longer than what a
// terminal would keep for us. It calls prompt when the person can begin.
func (t *terminal) AskHidden(ctx context.Context, prompt func() error) (string, error) {
	return t.ask(ctx, func() error {
		show, err := hide(t.in)
		if err != nil {
			return err
		}
		t.show = show
		return prompt()
	})
}

// ask waits for its turn, and for a line.
func (t *terminal) ask(ctx context.Context, prompt func() error) (string, error) {
	if err := t.reach(); err != nil {
		return "", err
	}
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	t.show = func() {}
	defer func() { t.show() }()
	if err := prompt(); err != nil {
		return "", err
	}
	// Joined by nobody: not every system can break off a read of a terminal. A
	// line that comes after its question has ended is for the next one.
	t.reading.Do(func() { go t.read() })
	select {
	case line, ok := <-t.lines:
		if !ok {
			return "", errNothing
		}
		return line, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func (t *terminal) read() {
	defer close(t.lines)
	for in := (lineReader{in: bufio.NewReader(t.in)}); ; {
		line, err := in.next()
		if err != nil {
			return
		}
		select {
		case t.lines <- line:
		case <-t.gone:
			return
		}
	}
}

// maxLine bounds a line that is entered, in bytes. What is longer is cut.
const maxLine = 256 << 10

// lineReader reads lines from a terminal that may leave their editing to us:
// one that does it cuts what is longer than 4096 bytes, and a token is.
type lineReader struct {
	in  *bufio.Reader
	end byte // what ended the last line
}

// The keys that edit a line (termios(3)).
const (
	keyErase = 0x7f
	keyBack  = '\b'
	keyKill  = 0x15 // Ctrl-U
	keyEnd   = 0x04 // Ctrl-D
)

// next returns a line without its end. An end of the input in a line is that of
// the line.
func (r *lineReader) next() (string, error) {
	var line []byte
	for {
		b, err := r.in.ReadByte()
		last := r.end
		r.end = 0
		switch {
		case err != nil && (!errors.Is(err, io.EOF) || len(line) == 0):
			return "", err
		case b == keyEnd && len(line) == 0:
			return "", io.EOF
		case b == '\n' && last == '\r': // the other half of an end
		case err != nil, b == '\n', b == '\r', b == keyEnd:
			r.end = b
			return string(line), nil
		case b == keyErase, b == keyBack:
			_, size := utf8.DecodeLastRune(line)
			line = line[:len(line)-size]
		case b == keyKill:
			line = line[:0]
		case len(line) < maxLine:
			line = append(line, b)
		}
	}
}
