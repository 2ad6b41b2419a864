//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/pomerium/pomerium-cli/e2e/world"
)

const hello = `package main

import "fmt"

func main() { fmt.Println("hello, world") }
`

// startUp times how long the program takes from its execution to the line that it listens, and to the end of "version", above
// what a Go program takes that does nothing.
func startUp(ctx context.Context, b *bench) error {
	size := b.figure("size of the binary", path{}, "MB", goal{limit: 20})
	info, err := os.Stat(b.binary)
	if err != nil {
		return err
	}
	size.add(ours, float64(info.Size())/1e6)
	nothing, err := buildHello(ctx, b.Dir)
	if err != nil {
		return err
	}
	listen := []string{b.binary, "tcp", world.Bench, "--pomerium-url", world.EdgeURL, "--alternate-ca-path", b.CA.CA,
		"--forward-proxy", "http://proxy.test:3128", "--service-account", world.GoodToken}
	listening := b.figure("exec to listening, above a Go hello world", path{}, "ms", goal{limit: 6})
	version := b.figure("`version`, above a Go hello world", path{}, "ms", goal{limit: 6})
	base := b.figure("a Go hello world", path{}, "ms")
	for range 10 * b.repeat {
		line, end, err := execute(ctx, nothing)
		if err != nil {
			return err
		}
		ready, _, err := execute(ctx, listen...)
		if err != nil {
			return err
		}
		_, told, err := execute(ctx, b.binary, "version")
		if err != nil {
			return err
		}
		base.add("hello", ms(line))
		listening.add(ours, ms(ready-line))
		version.add(ours, ms(told-end))
	}
	base.name = fmt.Sprintf("(a Go hello world: %s ms)", number(median(base.samples["hello"])))
	return nil
}

func buildHello(ctx context.Context, dir string) (string, error) {
	source, program := filepath.Join(dir, "hello.go"), filepath.Join(dir, "hello")
	if err := os.WriteFile(source, []byte(hello), 0o644); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building a hello world: %w\n%s", err, out)
	}
	return program, nil
}

// execute runs a program until it has written something, and ends it; it measures how long it took to the first byte, and to its
// end.
func execute(ctx context.Context, args ...string) (line, end time.Duration, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, 0, err
	}
	defer r.Close()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = w, w
	start := time.Now()
	err = cmd.Start()
	w.Close()
	if err != nil {
		return 0, 0, err
	}
	first := make([]byte, 512)
	_, err = r.Read(first)
	line = time.Since(start)
	if len(args) > 2 { // it listens
		cmd.Process.Kill()
	}
	io.Copy(io.Discard, r)
	cmd.Wait() // its exit status says nothing
	return line, time.Since(start), err
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
