package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// leavesTraces are the system calls by which a sign-in changes a file, and those
// by which it turns to somebody; SYS_WRITE and SYS_OPENAT only where it is about a
// file. Between two of them files have one state to be killed in.
var leavesTraces = map[uint64]bool{
	unix.SYS_OPENAT: true, unix.SYS_WRITE: true, unix.SYS_PWRITE64: true, unix.SYS_FTRUNCATE: true, unix.SYS_FSYNC: true, unix.SYS_FLOCK: true,
	unix.SYS_MKDIRAT: true, unix.SYS_RENAMEAT: true, unix.SYS_UNLINKAT: true, unix.SYS_LINKAT: true, unix.SYS_FCHMODAT: true,
	unix.SYS_CONNECT: true, unix.SYS_LISTEN: true,
}

// leavesTrace says whether a thread that is about to make a system call does so.
func leavesTrace(tid int) bool {
	var regs unix.PtraceRegs
	if unix.PtraceGetRegs(tid, &regs) != nil || !leavesTraces[regs.Orig_rax] {
		return false
	}
	switch regs.Orig_rax {
	case unix.SYS_OPENAT:
		return regs.Rdx&unix.O_CREAT != 0
	case unix.SYS_WRITE:
		to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tid, regs.Rdi))
		return err == nil && strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "/dev/")
	}
	return true
}

// TestKilledAtEachPoint kills a sign-in before each system call that leaves a
// trace, the first, the second and so on until it ends by itself. The next one
// always is begun at once, finds nothing half made, and keeps its token.
func TestKilledAtEachPoint(t *testing.T) {
	h := newHousehold(t)
	points := 0
	for ended := false; !ended; points++ {
		ended = h.killedAt(points)
		before := h.Stats().SignIns
		said, err := h.login(nil)
		if n := h.Stats().SignIns - before; err != nil || n > 1 || strings.Contains(said, "waiting for") || strings.Contains(said, "cannot") {
			t.Fatalf("after point %d: %v, %d sign-ins: %s", points, err, n, said)
		}
		if kept := h.content("*.jwt"); strings.Count(kept, ".") != 2 {
			t.Fatalf("after point %d the next one kept %d bytes", points, len(kept))
		}
		if err := os.RemoveAll(filepath.Join(h.home, "pomerium-cli")); err != nil {
			t.Fatal(err)
		}
	}
	if t.Logf("%d points", points); points < 10 {
		t.Errorf("a sign-in was over after %d points", points)
	}
}

// login signs in, with a person who opens what is shown. Started starts the
// process in place of exec, and waits for its end.
func (h *household) login(started func(*exec.Cmd) error) (said string, err error) {
	h.t.Helper()
	cmd := exec.Command("pomerium-cli", "login", h.EdgeURL().String(), "--forward-proxy", h.ProxyURL("http"),
		"--alternate-ca-path", filepath.Join(h.home, "edge-ca.pem"), "--no-browser")
	cmd.Env = append(os.Environ(), "HOME="+h.home, "XDG_CACHE_HOME="+h.home, "POMERIUM_SERVICE_ACCOUNT=", "LOG_LEVEL=")
	r, w, err := os.Pipe()
	if err != nil {
		h.t.Fatal(err)
	}
	cmd.Stderr = w
	var all strings.Builder
	read := make(chan struct{})
	go func() { // joined below
		defer close(read)
		for lines := bufio.NewScanner(r); lines.Scan(); {
			all.WriteString(lines.Text() + "\n")
			if p := signInPage(lines.Text()); p != "" {
				_ = h.Browse(context.Background(), p) // a killed program has no page to end on
			}
		}
	}()
	if started == nil {
		started = (*exec.Cmd).Run
	}
	err = started(cmd)
	w.Close()
	<-read
	r.Close()
	return all.String(), err
}

// killedAt runs a sign-in and kills it before the system call after so many;
// ended says that there was none.
func (h *household) killedAt(point int) (ended bool) {
	h.t.Helper()
	said, err := h.login(func(cmd *exec.Cmd) (err error) {
		done := make(chan struct{})
		go func() { // joined below: a tracer is a thread
			defer close(done)
			runtime.LockOSThread() // and is not given back
			ended, err = trace(cmd, point)
		}()
		<-done
		return err
	})
	if err != nil {
		h.t.Fatalf("point %d: %v: %s", point, err, said)
	}
	return ended
}

// trace runs a program under ptrace(2), on this thread.
func trace(cmd *exec.Cmd, point int) (ended bool, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	pid := cmd.Process.Pid
	defer cmd.Process.Release()
	const options = unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_EXITKILL
	entering := make(map[int]bool)
	for begun := false; ; {
		var status unix.WaitStatus
		tid, err := unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return false, os.NewSyscallError("wait4", err)
		}
		switch {
		case !status.Stopped():
			delete(entering, tid)
			switch {
			case tid != pid:
				continue
			case status.Exited() && status.ExitStatus() != 0:
				return false, fmt.Errorf("exit code %d", status.ExitStatus())
			}
			return status.Exited(), nil
		case !begun:
			begun = true
			if err := unix.PtraceSetOptions(pid, options); err != nil {
				return false, os.NewSyscallError("ptrace", err)
			}
		}
		signal := 0
		switch s := status.StopSignal(); s {
		case unix.SIGTRAP | 0x80: // a system call
			entering[tid] = !entering[tid]
			if entering[tid] && leavesTrace(tid) {
				if point == 0 {
					_ = unix.Kill(pid, unix.SIGKILL)
				}
				point--
			}
		case unix.SIGTRAP, unix.SIGSTOP: // exec, clone, a new thread
		default:
			signal = int(s)
		}
		_ = unix.PtraceSyscall(tid, signal) // fails for who has been killed meanwhile
	}
}
