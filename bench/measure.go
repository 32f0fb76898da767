//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// usage is what one run of one contender took.
type usage struct {
	Wall float64 `json:"wallSeconds"`
	CPU  float64 `json:"cpuSeconds"`  // user and system, of the process and those of its children that it waited for
	RSS  int64   `json:"maxRSSBytes"` // the peak of the largest of these processes

	Saw   map[string]float64 `json:"saw,omitempty"`                // the scenario's quantities
	Fresh []int64            `json:"freshBytesByTenths,omitempty"` // as sent has it
}

// adoptOrphans makes this process the parent of what its children leave behind (prctl(2), PR_SET_CHILD_SUBREAPER).
func adoptOrphans() error {
	const prSetChildSubreaper = 36
	if _, _, errno := syscall.Syscall6(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0, 0, 0, 0); errno != 0 {
		return os.NewSyscallError("prctl", errno)
	}
	return nil
}

// measure runs a command to its end, with standard output to /dev/null, and says what it took. A command that fails is
// an error that quotes its standard error, which goes to the file stderr.
//
// The command is started by a shell that ends at once, and is adopted: the kernel counts into a process's peak memory
// what its parent had when it was started (exec takes over the peak of the address space it replaces, which a vfork
// shares with the parent), so that a child of this process would never be seen smaller than this process. The shell
// forks, and is tiny. Its fork waits until the shell has ended, which could otherwise reap a command that is quicker.
func measure(ctx context.Context, argv, env []string, stderr string) (usage, error) {
	wait, begin, err := os.Pipe()
	if err != nil {
		return usage{}, err
	}
	defer begin.Close()
	shell := exec.Command("/bin/sh", append([]string{"-c",
		`out=$1; shift; { read -r _ <&3; exec "$@" >/dev/null 2>"$out" 3<&-; } & echo $!`, "sh", stderr}, argv...)...)
	shell.Env, shell.ExtraFiles = env, []*os.File{wait}
	// Not Output: the fork holds the pipe that it would read to its end.
	said, err := shell.StdoutPipe()
	if err == nil {
		err = shell.Start()
	}
	wait.Close()
	if err != nil {
		return usage{}, fmt.Errorf("start %s: %w", argv[0], err)
	}
	line, _ := bufio.NewReader(said).ReadString('\n')
	if err := shell.Wait(); err != nil {
		return usage{}, fmt.Errorf("start %s: %w", argv[0], err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		return usage{}, fmt.Errorf("start %s: the shell said %q", argv[0], line)
	}
	start := time.Now()
	begin.Close()
	stop := context.AfterFunc(ctx, func() { syscall.Kill(pid, syscall.SIGKILL) })
	var status syscall.WaitStatus
	var took syscall.Rusage
	for {
		_, err = syscall.Wait4(pid, &status, 0, &took)
		if err != syscall.EINTR {
			break
		}
	}
	wall := time.Since(start)
	stop()
	if ctx.Err() != nil {
		return usage{}, context.Cause(ctx)
	}
	if err != nil {
		return usage{}, os.NewSyscallError("wait4", err)
	}
	if !status.Exited() || status.ExitStatus() != 0 {
		said, _ := os.ReadFile(stderr)
		return usage{}, fmt.Errorf("%s: exit status %d, signal %d: %s", strings.Join(argv, " "), status.ExitStatus(), status.Signal(), clip(said, 2000))
	}
	return usage{
		Wall: wall.Seconds(),
		CPU:  time.Duration(took.Utime.Nano() + took.Stime.Nano()).Seconds(),
		RSS:  took.Maxrss << 10,
	}, nil
}

func clip(b []byte, n int) string {
	if len(b) > n {
		return string(b[:n]) + "…"
	}
	return string(b)
}
