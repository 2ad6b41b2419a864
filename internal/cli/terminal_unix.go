//go:build !windows

package cli

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

var errBackground = errors.New("this program runs in the background")

// ownTerminal opens the controlling terminal. In the background it would be
// stopped by the first word that it reads there, with all of its tunnels.
func ownTerminal() (in, out *os.File, err error) {
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	group := 0
	err = control(f, func(fd int) (err error) {
		group, err = unix.IoctlGetInt(fd, unix.TIOCGPGRP)
		return err
	})
	if err == nil && group != unix.Getpgrp() {
		err = errBackground
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, f, nil
}

// hide keeps what is typed off the screen, and has it come as it is typed, until
// show is called. Ctrl-C stays what it is.
func hide(f *os.File) (show func(), err error) {
	var before unix.Termios
	err = control(f, func(fd int) error {
		now, err := unix.IoctlGetTermios(fd, getTermios)
		if err != nil {
			return err
		}
		before = *now
		now.Lflag &^= unix.ECHO | unix.ICANON
		now.Lflag |= unix.ISIG
		now.Iflag |= unix.ICRNL
		now.Cc[unix.VMIN], now.Cc[unix.VTIME] = 1, 0
		return unix.IoctlSetTermios(fd, setTermios, now)
	})
	return func() {
		_ = control(f, func(fd int) error { return unix.IoctlSetTermios(fd, setTermios, &before) })
	}, err
}

// control calls do with the descriptor, which stays as it is: Fd would make it
// one whose reads cannot be ended.
func control(f *os.File, do func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if failed := c.Control(func(fd uintptr) { err = do(int(fd)) }); failed != nil {
		return failed
	}
	return err
}
