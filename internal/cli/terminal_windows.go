package cli

import (
	"os"

	"golang.org/x/sys/windows"
)

// ownTerminal opens the console.
func ownTerminal() (in, out *os.File, err error) {
	if in, err = os.OpenFile("CONIN$", os.O_RDWR, 0); err != nil {
		return nil, nil, err
	}
	if out, err = os.OpenFile("CONOUT$", os.O_RDWR, 0); err != nil {
		_ = in.Close()
		return nil, nil, err
	}
	return in, out, nil
}

// hide keeps what is typed off the screen, and has it come as it is typed, until
// show is called. Ctrl-C stays what it is.
func hide(f *os.File) (show func(), err error) {
	h := windows.Handle(f.Fd())
	var before uint32
	if err := windows.GetConsoleMode(h, &before); err != nil {
		return nil, err
	}
	now := before&^(windows.ENABLE_ECHO_INPUT|windows.ENABLE_LINE_INPUT) | windows.ENABLE_PROCESSED_INPUT
	return func() { _ = windows.SetConsoleMode(h, before) }, windows.SetConsoleMode(h, now)
}
