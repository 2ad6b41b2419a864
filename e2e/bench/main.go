//go:build linux

// Command bench measures the built program from outside, among the real parts of package world, and compares it with others
// that were measured in the same run, in turn. It prints one table; docs/PERFORMANCE.md says what the figures mean.
//
// It needs root on Linux, for network namespaces. Nothing leaves the machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/pomerium/pomerium-cli/e2e/world"
)

// plainCommand is the first argument of the child processes that are this program too.
const plainCommand = "plain"

func main() {
	err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) > 0 && args[0] == plainCommand {
		return runPlain(args[1:])
	}
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	binary := flags.String("binary", "../bin/pomerium-cli", "the program to measure")
	only := flags.String("run", "", "regular expression: only experiments whose names match")
	repeat := flags.Int("repeat", 5, "repetitions; each figure is the median")
	quick := flags.Bool("quick", false, "a fraction of the work, once: to see that it runs")
	list := flags.Bool("list", false, "print the names of the experiments, and do nothing")
	flags.Parse(args)
	chosen, err := choose(*only)
	if err != nil || *list {
		for _, e := range chosen {
			fmt.Println(e.name)
		}
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := &bench{repeat: *repeat, quick: *quick}
	if b.quick {
		b.repeat = 1
	}
	if *binary, err = filepath.Abs(*binary); err != nil {
		return err
	}
	if _, err := os.Stat(*binary); err != nil {
		return fmt.Errorf("%w; make bench builds it", err)
	}
	if err := ensure(ctx); err != nil {
		return err
	}
	if b.ground, err = newGround(ctx, *binary); err != nil {
		return err
	}
	defer b.close()
	return b.run(ctx, chosen)
}

// ensure installs what is missing, among it what only this program wants.
func ensure(ctx context.Context) error {
	if err := world.Ensure(ctx); err != nil {
		return err
	}
	for _, name := range []string{"proxytunnel", "socat"} {
		if _, err := exec.LookPath(name); err == nil {
			continue
		}
		cmd := exec.CommandContext(ctx, "apt-get", "install", "-qq", "-y", "--no-install-recommends", name)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("installing %s: %w\n%s", name, err, out)
		}
	}
	return nil
}

// A bench is one run.
type bench struct {
	*ground
	repeat  int
	quick   bool
	figures []*figure
}

// An experiment takes some figures.
type experiment struct {
	name string
	run  func(context.Context, *bench) error
}

func choose(only string) ([]experiment, error) {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return nil, err
	}
	var chosen []experiment
	for _, e := range experiments() {
		if pattern.MatchString(e.name) {
			chosen = append(chosen, e)
		}
	}
	if chosen == nil {
		return nil, fmt.Errorf("no experiment matches %q", only)
	}
	return chosen, nil
}

func (b *bench) run(ctx context.Context, chosen []experiment) error {
	start, load := time.Now(), loadAverage()
	var errs []error
	for _, e := range chosen {
		fmt.Fprintln(os.Stderr, time.Now().Format(time.TimeOnly), e.name)
		taken := len(b.figures)
		if err := e.run(ctx, b); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", e.name, err))
		}
		for _, f := range b.figures[taken:] {
			fmt.Fprintln(os.Stderr, "        ", f)
		}
		if ctx.Err() != nil {
			break
		}
	}
	fmt.Printf("%s\n\n%s", b.circumstances(start, load), render(b.figures))
	return errors.Join(errs...)
}

// figure begins a figure, which comes next in the table.
func (b *bench) figure(name string, p path, unit string, goals ...goal) *figure {
	f := &figure{name: name, unit: unit, goals: goals}
	if p != (path{}) {
		f.path = p.String()
	}
	b.figures = append(b.figures, f)
	return f
}

// circumstances are what one has to know to compare a run with another.
func (b *bench) circumstances(start time.Time, load string) string {
	model := "unknown CPU"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, found := strings.Cut(string(info), "model name\t: "); found {
			model, _, _ = strings.Cut(rest, "\n")
		}
	}
	version, _ := exec.Command(b.binary, "version").Output()
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%s, %d repetitions in %s; %d x %s; load %s before; Linux %s; %s; measured: %s",
		start.Format(time.DateTime), b.repeat, time.Since(start).Round(time.Second), runtime.NumCPU(), model, load,
		strings.TrimSpace(string(kernel)), runtime.Version(), strings.TrimSpace(string(version)))
}

// loadAverage is how many programs have wanted to run in the last minute: in a busy machine no figure is worth much.
func loadAverage() string {
	average, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Fields(string(average))[0]
}
