package test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// secret is what scripts use as password, token and cookie. No output of any run may hold it.
const secret = "S3CRET"

// patience is how long anything may take before a script fails: a bound for hangs, not a measure.
const patience = time.Minute

// run [-in FILE] [-out FILE] STATUS ARGS... runs urlsession, with a pipe from the one file and standard output into the
// other, and expects its exit status.
func run(ts *testscript.TestScript, neg bool, args []string) {
	var in, out string
	for len(args) > 1 && (args[0] == "-in" || args[0] == "-out") {
		if args[0] == "-in" {
			in = args[1]
		} else {
			out = args[1]
		}
		args = args[2:]
	}
	if neg || len(args) < 1 {
		ts.Fatalf("usage: run [-in FILE] [-out FILE] STATUS ARGS...")
	}
	p := launch(ts, in, out, args[1:])
	expect(ts, p, args[0])
}

// start NAME ARGS... runs urlsession in the background; signal and finish go on with it.
func start(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: start NAME ARGS...")
	}
	stateOf(ts).runs[args[0]] = launch(ts, "", "", args[1:])
}

// signalRun is signal NAME INT|TERM|HUP|KILL.
func signalRun(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL}
	if neg || len(args) != 2 || signals[args[1]] == nil {
		ts.Fatalf("usage: signal NAME INT|TERM|HUP|KILL")
	}
	ts.Check(background(ts, args[0]).cmd.Process.Signal(signals[args[1]]))
}

// finish NAME STATUS waits for a run in the background and expects its exit status, or "killed".
func finish(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: finish NAME STATUS")
	}
	expect(ts, background(ts, args[0]), args[1])
}

// shows NAME PATTERN waits until a run in the background has printed what matches on standard error.
func shows(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: shows NAME PATTERN")
	}
	p := background(ts, args[0])
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if pattern.MatchString(p.stderr.String()) {
			return
		}
	}
	ts.Fatalf("no %s on standard error after %v:\n%s", pattern, patience, p.stderr.String())
}

// peak SIZE expects that the last run that ended never had more memory resident (VmHWM). Sizes are in MiB.
func peak(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: peak MIB")
	}
	limit, err := strconv.ParseInt(args[0], 10, 64)
	ts.Check(err)
	last := stateOf(ts).last
	if last.peak == 0 {
		ts.Fatalf("the memory of the last run was never seen: it was too short")
	}
	ts.Logf("peak resident memory: %.1f MiB", float64(last.peak)/(1<<20))
	if last.peak > limit<<20 {
		ts.Fatalf("peak resident memory is %.1f MiB, more than %d MiB", float64(last.peak)/(1<<20), limit)
	}
}

func background(ts *testscript.TestScript, name string) *process {
	p := stateOf(ts).runs[name]
	if p == nil {
		ts.Fatalf("no run called %q", name)
	}
	return p
}

func launch(ts *testscript.TestScript, in, out string, args []string) *process {
	p := &process{cmd: exec.Command(binary, args...), done: make(chan struct{})}
	p.cmd.Dir = ts.MkAbs(".")
	p.cmd.Env = environment(ts)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal to ask for a password on
	if in != "" {
		p.cmd.Stdin = strings.NewReader(ts.ReadFile(in)) // by a pipe
	}
	if out != "" {
		f, err := os.Create(ts.MkAbs(out))
		ts.Check(err)
		defer f.Close() // the child has its own
		p.cmd.Stdout = f
	}
	ts.Check(p.cmd.Start())
	exited := make(chan struct{})
	go func() {
		p.err = p.cmd.Wait()
		close(exited)
	}()
	go func() {
		defer close(p.done)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			p.peak = max(p.peak, residentPeak(p.cmd.Process.Pid))
			select {
			case <-exited:
				return
			case <-tick.C:
			}
		}
	}()
	ts.Defer(func() {
		_ = p.cmd.Process.Kill() // it has ended, mostly
		<-p.done
	})
	return p
}

// environment is the script's, by the names that matter to the command.
func environment(ts *testscript.TestScript) []string {
	env := []string{"PATH=" + ts.Getenv("PATH")}
	for _, name := range []string{
		"HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "URLSESSION_STATE", "XDG_DATA_HOME", "XDG_CACHE_HOME", "TMPDIR", "URLSESSION_PASSWORD",
		"URLSESSION_TOKEN", "NETRC", "DBUS_SESSION_BUS_ADDRESS",
		"http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "GODEBUG", "SSL_CERT_FILE",
	} {
		if v := ts.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// residentPeak is VmHWM of /proc/PID/status in bytes, 0 when it cannot be read any more. (ru_maxrss would do less well:
// a child inherits that of its parent at the fork.)
func residentPeak(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for lines := bufio.NewScanner(bytes.NewReader(status)); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// expect waits for a run to end, hands its output to the script, and checks its status and that it told no secret.
func expect(ts *testscript.TestScript, p *process, status string) {
	select {
	case <-p.done:
	case <-time.After(patience):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // its goroutines are the best clue
		<-p.done
		ts.Fatalf("urlsession %q still ran after %v\n%s", p.cmd.Args[1:], patience, p.stderr.String())
	}
	stateOf(ts).last = p
	stdout, stderr := p.stdout.String(), p.stderr.String()
	_, _ = fmt.Fprint(ts.Stdout(), stdout)
	_, _ = fmt.Fprint(ts.Stderr(), stderr)
	got := "0"
	if exit, ok := errors.AsType[*exec.ExitError](p.err); ok {
		got = strconv.Itoa(exit.ExitCode())
		if w, ok := exit.Sys().(syscall.WaitStatus); ok && w.Signaled() && w.Signal() == syscall.SIGKILL {
			got = "killed"
		}
	} else {
		ts.Check(p.err)
	}
	if got != status {
		ts.Fatalf("urlsession %q: exit status %s, want %s\n[stdout]\n%s\n[stderr]\n%s", p.cmd.Args[1:], got, status, head(stdout), head(stderr))
	}
	if strings.Contains(stdout+stderr, secret) {
		ts.Fatalf("urlsession %q told a secret:\n[stdout]\n%s\n[stderr]\n%s", p.cmd.Args[1:], head(stdout), head(stderr))
	}
}

// head is the beginning of an output, for a failure's text.
func head(s string) string { return s[:min(len(s), 8<<10)] }
