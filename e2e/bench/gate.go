//go:build linux

package main

import (
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/pomerium/pomerium-cli/e2e/world"
)

// A gate makes sockets of a host, on one thread that stays there; they can be connected from anywhere. (Host.Dial moves a new
// thread in for each connection; that takes about as long as a tunnel.)
type gate struct {
	orders chan chan<- socket
	done   sync.WaitGroup
}

type socket struct {
	fd  int
	err error
}

func openGate(h *world.Host) (*gate, error) {
	waiter := exec.Command("sleep", "60") // only its network namespace is of interest
	if err := h.Start(waiter); err != nil {
		return nil, err
	}
	defer waiter.Wait()
	defer waiter.Process.Kill()
	namespace, err := os.Open("/proc/" + strconv.Itoa(waiter.Process.Pid) + "/ns/net")
	if err != nil {
		return nil, err
	}
	defer namespace.Close()
	g := &gate{orders: make(chan chan<- socket)}
	entered := make(chan error)
	g.done.Go(func() { // joined by Close
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET)
		entered <- err
		if err == nil {
			g.serve()
		}
	})
	return g, <-entered
}

func (g *gate) serve() {
	for reply := range g.orders {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		reply <- socket{fd, os.NewSyscallError("socket", err)}
	}
}

// Dial connects to a port of the host's 127.0.0.1.
func (g *gate) Dial(port int) (*net.TCPConn, error) {
	reply := make(chan socket, 1)
	g.orders <- reply
	s := <-reply
	if s.err != nil {
		return nil, s.err
	}
	f := os.NewFile(uintptr(s.fd), "")
	defer f.Close()
	// It blocks, but on loopback only where a listener has no room.
	if err := unix.Connect(s.fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, os.NewSyscallError("connect", err)
	}
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), conn.(*net.TCPConn).SetNoDelay(true)
}

// Close ends the thread.
func (g *gate) Close() {
	close(g.orders)
	g.done.Wait()
}
