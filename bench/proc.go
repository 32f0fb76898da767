//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// What the kernel says of a process that runs (proc(5)).

// memory is the resident set of a process, and its peak, in bytes.
func memory(pid int) (now, peak int64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	now, err = statusField(status, "VmRSS")
	if err == nil {
		peak, err = statusField(status, "VmHWM")
	}
	return now << 10, peak << 10, err
}

// statusField is a number of a file named status; those of memory are in KiB.
func statusField(status []byte, name string) (int64, error) {
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		}
	}
	return 0, fmt.Errorf("the kernel does not tell %s", name)
}

// cpu is the user and system time that a process has taken, in seconds, to 10 ms.
func cpu(pid int) (float64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold anything; of what follows it the 12th and 13th field are the times, in hundredths.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	user, err := strconv.ParseInt(string(fields[11]), 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(string(fields[12]), 10, 64)
	return float64(user+system) / 100, err
}

// wakeUps is how often the threads of a process have gone to sleep of their own, by thread: each is one wake-up.
func wakeUps(pid int) (map[string]int64, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		return nil, err
	}
	by := make(map[string]int64)
	for _, file := range files {
		status, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		if by[file], err = statusField(status, "voluntary_ctxt_switches"); err != nil {
			return nil, err
		}
	}
	if len(by) == 0 {
		return nil, fmt.Errorf("process %d has no threads", pid)
	}
	return by, nil
}

// wakeUpsASecond counts over a time.
func wakeUpsASecond(ctx context.Context, pid int, during time.Duration) (float64, error) {
	before, err := wakeUps(pid)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := sleep(ctx, during); err != nil {
		return 0, err
	}
	after, err := wakeUps(pid)
	took := time.Since(begin)
	n := int64(0)
	for thread, count := range after {
		n += count - before[thread]
	}
	return float64(n) / took.Seconds(), err
}

// settled waits until the memory of a process has not changed by a MiB for 10 s, 2 minutes at most, and returns it.
func settled(ctx context.Context, pid int) (int64, error) {
	const steady, most = 10, 120 // seconds
	var seen int64
	for since, passed := 0, 0; since < steady && passed < most; passed++ {
		now, _, err := memory(pid)
		if err != nil {
			return 0, err
		}
		if since++; max(now-seen, seen-now) > 1<<20 {
			seen, since = now, 0
		}
		if err := sleep(ctx, time.Second); err != nil {
			return 0, err
		}
	}
	now, _, err := memory(pid)
	return now, err
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
