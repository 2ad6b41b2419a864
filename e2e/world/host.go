//go:build linux

package world

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Host is one machine of the world: a network, mount and process namespace of its own, held by a process that only waits for
// its standard input to end. When this program ends, however it ends, so does that input, with it the holder, and the
// kernel then ends every process of the host and takes its interfaces away. Nothing has a name, so nothing is left to
// clean.
type Host struct {
	Name string

	dir    string
	holder *exec.Cmd
	stdin  io.Closer
}

// boot runs as the first process of a host. The files in its etc directory lie over those in /etc, so that a name can resolve,
// or a user exist, on one host and not on another.
const boot = `set -e
mount -t proc proc /proc
for file in etc/*; do mount --bind "$file" "/$file"; done
ip link set lo up
echo ready
exec cat >/dev/null`

// NewHost starts a host. Its files are kept below dir; etc are the contents of those that it has of its own in /etc.
func NewHost(name, dir string, etc map[string]string) (*Host, error) {
	h := &Host{Name: name, dir: filepath.Join(dir, name)}
	if err := os.MkdirAll(filepath.Join(h.dir, "etc"), 0o755); err != nil {
		return nil, err
	}
	for file, content := range etc {
		if err := os.WriteFile(filepath.Join(h.dir, "etc", file), []byte(content), 0o644); err != nil {
			return nil, err
		}
	}
	h.holder = exec.Command("sh", "-c", boot)
	h.holder.Dir = h.dir
	h.holder.Stderr = os.Stderr
	h.holder.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   unix.CLONE_NEWNET | unix.CLONE_NEWPID,
		Unshareflags: unix.CLONE_NEWNS, // package syscall then makes every mount private, so ours do not show outside
	}
	stdin, err := h.holder.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := h.holder.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := h.holder.Start(); err != nil {
		return nil, fmt.Errorf("making the namespaces of host %s: %w", name, err)
	}
	h.stdin = stdin
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" { // standard error has said why
		h.Close()
		return nil, fmt.Errorf("setting up host %s: it is not ready: %q", name, line)
	}
	return h, nil
}

// Close ends every process of the host and waits until they are gone.
func (h *Host) Close() {
	h.stdin.Close()
	h.holder.Wait() // its exit status says nothing
}

// Start starts cmd on the host. The process id in cmd.Process is the caller's view of it.
func (h *Host) Start(cmd *exec.Cmd) error {
	_, err := h.StartTimed(cmd)
	return err
}

// StartTimed is Start, and says when the program was about to be executed, which is after the way into the host.
func (h *Host) StartTimed(cmd *exec.Cmd) (begin time.Time, err error) {
	err = h.within(func() error {
		begin = time.Now()
		return cmd.Start()
	}, "pid", "net", "mnt")
	return begin, err
}

// Run runs a command on the host to its end; its error carries what the command wrote to standard error.
func (h *Host) Run(ctx context.Context, name string, args ...string) ([]byte, error) {
	return h.Finish(exec.CommandContext(ctx, name, args...))
}

// Finish is Run for a command that is made already.
func (h *Host) Finish(cmd *exec.Cmd) ([]byte, error) {
	var stdout, stderr strings.Builder
	cmd.Stdout = &stdout
	if cmd.Stderr == nil {
		cmd.Stderr = &stderr
	}
	err := h.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		err = fmt.Errorf("%s on host %s: %w\n%s", strings.Join(cmd.Args, " "), h.Name, err, stderr.String())
	}
	return []byte(stdout.String()), err
}

// Listen listens on an address of the host; the caller accepts from where it is.
func (h *Host) Listen(network, addr string) (ln net.Listener, err error) {
	err = h.within(func() (err error) {
		ln, err = net.Listen(network, addr)
		return err
	}, "net")
	return ln, err
}

// Dial connects from the host to a numeric address.
func (h *Host) Dial(network, addr string) (conn net.Conn, err error) {
	err = h.within(func() (err error) {
		conn, err = net.Dial(network, addr)
		return err
	}, "net")
	return conn, err
}

// NetFile reads a file of the host's /proc/net.
func (h *Host) NetFile(name string) ([]byte, error) {
	return os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", h.holder.Process.Pid, name))
}

// within calls f on a thread that has moved into the host. The goroutine ends with its thread still locked, so that the runtime
// throws the thread away.
func (h *Host) within(f func() error, namespaces ...string) error {
	result := make(chan error)
	go func() { // joined by the receive below
		runtime.LockOSThread()
		result <- func() error {
			if err := h.enter(namespaces); err != nil {
				return fmt.Errorf("entering host %s: %w", h.Name, err)
			}
			return f()
		}()
	}()
	return <-result
}

func (h *Host) enter(namespaces []string) error {
	var files []*os.File
	for _, name := range namespaces { // all are opened before the first is entered: then /proc is another
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", h.holder.Process.Pid, name))
		if err != nil {
			return err
		}
		defer f.Close()
		files = append(files, f)
	}
	if err := unix.Unshare(unix.CLONE_FS); err != nil { // setns(2) asks for it before a mount namespace
		return os.NewSyscallError("unshare", err)
	}
	for _, f := range files {
		if err := unix.Setns(int(f.Fd()), 0); err != nil {
			return os.NewSyscallError("setns", err)
		}
	}
	return nil
}
