package main

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pomerium/pomerium-cli/internal/lab"
)

// household is a home directory, several processes that share it, and the lab
// where they sign in.
type household struct {
	*lab.Lab
	t    *testing.T
	home string

	mu     sync.Mutex
	opened int // URLs that were shown
}

func newHousehold(t *testing.T) *household {
	t.Helper()
	l, err := lab.Start(lab.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	h := &household{Lab: l, t: t, home: t.TempDir()}
	if err := os.WriteFile(filepath.Join(h.home, "edge-ca.pem"), l.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return h
}

// member is one process. What it says is told to onLine, a line at a time, on a
// goroutine of its own.
type member struct {
	*exec.Cmd
	t     *testing.T
	addr  string
	said  *strings.Builder
	ended chan struct{}
}

// runs starts the program with a listener, in this home.
func (h *household) runs(onLine func(line string)) *member {
	h.t.Helper()
	cmd := exec.Command("pomerium-cli", "tcp", "echo.lab:7", "--pomerium-url", h.EdgeURL().String(), "--forward-proxy", h.ProxyURL("http"),
		"--alternate-ca-path", filepath.Join(h.home, "edge-ca.pem"), "--no-browser")
	cmd.Env = append(os.Environ(), "HOME="+h.home, "XDG_CACHE_HOME="+h.home, "LocalAppData="+h.home, "POMERIUM_SERVICE_ACCOUNT=", "LOG_LEVEL=")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	m := &member{Cmd: cmd, t: h.t, said: new(strings.Builder), ended: make(chan struct{})}
	first := make(chan string, 1)
	go func() { // joined by end
		defer close(m.ended)
		defer close(first)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			h.mu.Lock()
			m.said.WriteString(lines.Text() + "\n")
			if signInPage(lines.Text()) != "" {
				h.opened++
			}
			h.mu.Unlock()
			if a := address(lines.Text()); a != "" {
				first <- a
			}
			onLine(lines.Text())
		}
	}()
	h.t.Cleanup(func() { m.end(os.Kill) })
	m.addr = <-first
	if m.addr == "" {
		h.t.Fatalf("it does not listen: %s", m.said)
	}
	return m
}

// interrupt is what Ctrl-C sends. On Windows no process can send that to another.
var interrupt = map[bool]os.Signal{false: os.Interrupt, true: os.Kill}[runtime.GOOS == "windows"]

// end ends the process and returns what it said.
func (m *member) end(how os.Signal) string {
	_ = m.Process.Signal(how)
	<-m.ended
	_ = m.Wait()
	return m.said.String()
}

// echo sends a byte through a tunnel, and back.
func (m *member) echo() error {
	c, err := net.Dial("tcp", m.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	_, err = exchange(c, "x", "x", true)
	return err
}

// echoes opens n tunnels at once, and returns how many failed.
func (m *member) echoes(n int) (failed <-chan int) {
	result := make(chan int, 1)
	var mu sync.Mutex
	var all sync.WaitGroup
	count := 0
	for range n {
		all.Go(func() {
			if m.echo() != nil {
				mu.Lock()
				defer mu.Unlock()
				count++
			}
		})
	}
	go func() { all.Wait(); result <- count }() // ends with the tunnels
	return result
}

// TestEdgeCase43_FiveProcesses: fifty tunnels of five processes, and nobody has
// a token: one URL is shown, one sign-in is counted, and the others know whose
// it is. Cancelled, it fails for all of them, and no other is begun.
func TestEdgeCase43_FiveProcesses(t *testing.T) {
	for name, cancelled := range map[string]bool{"signed in": false, "cancelled": true} {
		t.Run(name, func(t *testing.T) {
			h := newHousehold(t)
			page, waiting := make(chan string, 50), make(chan string, 50)
			var members []*member
			for range 5 {
				members = append(members, h.runs(func(line string) {
					if p := signInPage(line); p != "" {
						page <- p
					}
					if strings.Contains(line, "waiting for the sign-in of process ") {
						waiting <- line
					}
				}))
			}
			var results []<-chan int
			for _, m := range members {
				results = append(results, m.echoes(10))
			}
			where := <-page
			var owner string
			for range len(members) - 1 {
				_, rest, _ := strings.Cut(<-waiting, "of process ")
				if owner != "" && owner != rest {
					t.Errorf("they wait for %s and for %s", owner, rest)
				}
				owner = rest
			}
			for _, m := range members {
				if pid, _, _ := strings.Cut(owner, " "); cancelled && pid == strconv.Itoa(m.Process.Pid) {
					m.end(interrupt)
				}
			}
			if !cancelled {
				if err := h.Browse(t.Context(), where); err != nil {
					t.Error(err)
				}
			}
			for i, r := range results {
				if failed := <-r; failed != map[bool]int{false: 0, true: 10}[cancelled] {
					t.Errorf("process %d: %d of 10 tunnels failed", i, failed)
				}
			}
			if want := map[bool]int{false: 1, true: 0}[cancelled]; h.Stats().SignIns != want {
				t.Errorf("%d sign-ins, want %d", h.Stats().SignIns, want)
			}
			for _, m := range members {
				said := m.end(interrupt)
				if strings.Contains(said, "pomerium_jwt") || cancelled && !strings.Contains(said, "sign in at ") && !strings.Contains(said, "(pomerium-cli tcp) was cancelled") {
					t.Errorf("a process said: %s", said)
				}
			}
			if h.opened != 1 {
				t.Errorf("%d URLs were shown", h.opened)
			}
		})
	}
}

// TestKilledInTheMiddle kills a process with a tunnel at the points of its sign-in
// that show, and has the next run go on from what it left: with the token if that
// was kept, else with a sign-in of its own, at once. TestKilledAtEachPoint walks
// through all of them.
func TestKilledInTheMiddle(t *testing.T) {
	for name, kill := range map[string]func(h *household, m *member, page <-chan string){
		"before anything": func(*household, *member, <-chan string) {},
		"with the lock": func(h *household, m *member, _ <-chan string) {
			go m.echo()
			h.until(func() bool { return strings.Contains(h.content("*.lock"), `"pid":`+strconv.Itoa(m.Process.Pid)+",") })
		},
		"when it waits for the browser": func(_ *household, m *member, page <-chan string) {
			go m.echo()
			<-page
		},
		"when the token is kept": func(h *household, m *member, page <-chan string) {
			go m.echo()
			p := <-page
			go h.Browse(context.Background(), p) // what becomes of the page is another matter
			h.until(func() bool { return h.content("*.jwt") != "" })
		},
		"when the tunnel is open": func(h *household, m *member, page <-chan string) {
			done := m.echoes(1)
			if err := h.Browse(h.t.Context(), <-page); err != nil {
				h.t.Error(err)
			}
			<-done
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHousehold(t)
			page := make(chan string, 10)
			onLine := func(line string) {
				if p := signInPage(line); p != "" {
					page <- p
				}
			}
			first := h.runs(onLine)
			kill(h, first, page)
			first.end(os.Kill)
			for len(page) > 0 {
				<-page
			}
			next := h.runs(func(line string) {
				if p := signInPage(line); p != "" {
					_ = h.Browse(context.Background(), p)
				}
			})
			if err := next.echo(); err != nil {
				t.Error(err)
			}
			said := next.end(interrupt)
			if n := h.Stats().SignIns; n != 1 || strings.Contains(said, "error") || strings.Contains(said, "waiting for") {
				t.Errorf("%d sign-ins: %s", n, said)
			}
		})
	}
}

// TestKilledOwner: who waited for a process that is killed signs in at once, in
// its place.
func TestKilledOwner(t *testing.T) {
	h := newHousehold(t)
	page, waiting := make(chan string, 10), make(chan string, 10)
	onLine := func(line string) {
		if p := signInPage(line); p != "" {
			page <- p
		}
		if strings.Contains(line, "waiting for the sign-in of process ") {
			waiting <- line
		}
	}
	owner, heir := h.runs(onLine), h.runs(onLine)
	lost := owner.echoes(1)
	<-page
	opened := heir.echoes(10)
	<-waiting
	owner.end(os.Kill)
	if n := <-lost; n != 1 {
		t.Error("a tunnel of the killed process was opened")
	}
	if err := h.Browse(t.Context(), <-page); err != nil {
		t.Error(err)
	}
	if failed := <-opened; failed != 0 || h.Stats().SignIns != 1 || h.opened != 2 {
		t.Errorf("%d of 10 tunnels failed; %d sign-ins, %d URLs", failed, h.Stats().SignIns, h.opened)
	}
}

// until waits for what the file system alone tells.
func (h *household) until(is func() bool) {
	h.t.Helper()
	for end := time.Now().Add(time.Minute); !is(); runtime.Gosched() {
		if time.Now().After(end) {
			h.t.Fatal("it does not come to that")
		}
	}
}

// content is what is in the files of that kind beside the tokens.
func (h *household) content(pattern string) string {
	var all strings.Builder
	for _, path := range h.glob(pattern) {
		b, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			h.t.Error(err)
		}
		all.Write(b)
	}
	return all.String()
}

func (h *household) glob(pattern string) []string {
	paths, err := filepath.Glob(filepath.Join(h.home, "pomerium-cli", "jwts", pattern))
	if err != nil {
		h.t.Fatal(err)
	}
	return paths
}
