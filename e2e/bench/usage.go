//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cpu is the CPU time that a process and its children have used, user and system.
func cpu(pid int) (time.Duration, error) {
	// The CPU clock of another process counts in nanoseconds, and its threads that ended too: clock_getcpuclockid(3).
	const sched = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|sched), &ts); err != nil {
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	sum := time.Duration(ts.Nano()) + reaped(pid)
	for _, child := range children(pid) {
		if used, err := cpu(child); err == nil { // it may have ended
			sum += used
		}
	}
	return sum, nil
}

// reaped is the CPU time of children that have ended, in the kernel's steps of 10 ms.
func reaped(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+2:]))
	var ticks int64
	for _, field := range fields[13:15] { // cutime and cstime of proc(5)
		n, _ := strconv.ParseInt(field, 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

func children(pid int) []int {
	list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	if err != nil {
		return nil
	}
	var pids []int
	for _, field := range strings.Fields(string(list)) {
		if n, err := strconv.Atoi(field); err == nil {
			pids = append(pids, n)
		}
	}
	return pids
}

// memory is what a process and its children keep in memory, in bytes, each shared page counted in parts (PSS).
func memory(pid int) (int64, error) {
	rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(rollup), "\nPss:")
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		return 0, err
	}
	sum := kib << 10
	for _, child := range children(pid) {
		if more, err := memory(child); err == nil {
			sum += more
		}
	}
	return sum, nil
}
