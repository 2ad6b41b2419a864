package cli

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
)

// A terminal is the one that the person sits at, whatever standard input is: that
// may be the tunnel. It is opened when it is needed.
type terminal struct {
	open func() (in, out *os.File, err error) // nil: the process's own

	once    sync.Once
	in, out *os.File
	err     error
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
	if err := t.reach(); err != nil {
		return "", err
	}
	if hidden {
		show, err := hide(t.in)
		if err != nil {
			return "", err
		}
		defer func() {
			show()
			_, _ = io.WriteString(t.out, "\n") // the person's own was hidden, too
		}()
	}
	if _, err := io.WriteString(t.out, prompt); err != nil {
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
	in := bufio.NewReader(t.in)
	for {
		line, err := in.ReadString('\n')
		if err != nil && !(errors.Is(err, io.EOF) && line != "") {
			return
		}
		select {
		case t.lines <- strings.TrimRight(line, "\r\n"):
		case <-t.gone:
			return
		}
	}
}
