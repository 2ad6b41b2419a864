//go:build linux

package world

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Process is a program that runs on a host until it is stopped. What it writes is kept in a file.
type Process struct {
	host *Host
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when the program has ended
}

// Launch starts a program that stays in the foreground and waits until it accepts connections at ready, an address on the host,
// if that is not empty.
// Its log is the file name.log in the host's directory.
func (h *Host) Launch(ctx context.Context, name, ready string, cmd *exec.Cmd) (*Process, error) {
	p := &Process{host: h, cmd: cmd, log: filepath.Join(h.dir, name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := h.Start(cmd); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() { // joined by Stop
		cmd.Wait()
		close(p.done)
	}()
	if ready == "" {
		return p, nil
	}
	if err := p.await(ctx, ready); err != nil {
		p.Kill()
		return nil, fmt.Errorf("starting %s: %w\n%s", name, err, p.Tail())
	}
	return p, nil
}

func (p *Process) await(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := p.host.Dial("tcp", addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-tick.C:
		case <-p.done:
			return fmt.Errorf("it ended: %s", p.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("%w, last: %w", ctx.Err(), err)
		}
	}
}

// Stop asks the program to end, and kills it when it has not ended within five seconds.
func (p *Process) Stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		p.Kill()
	}
}

// Kill ends the program as a crash would.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// Freeze stops the program from running: its connections stay, and say nothing.
func (p *Process) Freeze() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }

// Thaw lets it go on.
func (p *Process) Thaw() error { return p.cmd.Process.Signal(syscall.SIGCONT) }

// Pid is the program's process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Tail is the end of what the program wrote.
func (p *Process) Tail() string { return tail(p.log) }

// Log is all that the program wrote.
func (p *Process) Log() string {
	content, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(content)
}

func tail(file string) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.SplitAfter(string(content), "\n")
	return strings.Join(lines[max(0, len(lines)-25):], "")
}
