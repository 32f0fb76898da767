package power

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/urlsession/urlsession/test/powerfs"
)

// A machine has a disk and loses its power again and again.
type machine struct {
	t      *testing.T
	seed   uint64
	random *rand.Rand
	disk   *powerfs.Disk
	dir    string // where the disk is mounted
	trace  []string
	lost   bool // the last life ended by a cut, and not by a kill alone
}

func newMachine(t *testing.T, journal powerfs.Journal, seed uint64) *machine {
	m := &machine{t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 1)), disk: powerfs.New(journal, seed), dir: t.TempDir()}
	m.disk.Latency = time.Millisecond
	m.disk.Trace(func(line string) { m.trace = append(m.trace, strings.TrimSpace(line)) })
	return m
}

// life mounts the disk and calls work, which ends soon after the power is cut: at a random step, of so many at most, or
// when work is done. One in three lives ends by a kill of all processes instead.
func (m *machine) life(steps int, work func()) {
	m.t.Helper()
	mount, err := m.disk.Mount(m.dir)
	must(m.t, err)
	m.trace = nil
	m.aim(steps)
	func() {
		defer func() {
			m.disk.Cut()
			if err := mount.Unmount(); err != nil {
				m.t.Fatal(err)
			}
		}()
		work()
	}()
	if m.lost = m.random.IntN(3) > 0; m.lost {
		m.disk.Restore()
	} else {
		m.disk.Revive()
	}
}

// aim has the power cut at a random step, of so many at most. One in three is one after a rename, where what was there and what is
// to come meet.
func (m *machine) aim(steps int) {
	if m.random.IntN(3) > 0 {
		m.disk.CutAt(1 + m.random.IntN(steps))
	} else {
		m.disk.CutAt(steps)
		m.disk.CutAfterRename(1 + m.random.IntN(1+steps/10))
	}
}

// dark reports whether the power is cut.
func (m *machine) dark() bool {
	select {
	case <-m.disk.Dark():
		return true
	default:
		return false
	}
}

// errorf fails the test and says how to have it again.
func (m *machine) errorf(format string, args ...any) {
	m.t.Helper()
	m.t.Errorf(format, args...)
	m.t.Fatalf("seed %d; power lost: %v; the disk has %q; the last life's last steps:\n%s",
		m.seed, m.lost, m.disk.Names(), strings.Join(m.trace[max(0, len(m.trace)-100):], "\n"))
}

// run runs a command on the disk and returns its exit status, −1 when it was killed, as it is when the power is cut, and what it
// printed. lines, if any, gets each line of its output when it comes.
func (m *machine) run(cmd *exec.Cmd, lines func(string)) (status int, stderr string) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	var errors bytes.Buffer
	cmd.Stderr = &errors
	// A pipe of our own: whoever else has it open keeps nobody waiting.
	out, in, err := os.Pipe()
	must(m.t, err)
	defer out.Close()
	cmd.Stdout = in
	cmd.WaitDelay = patience / 10
	must(m.t, cmd.Start())
	in.Close()
	done := make(chan struct{})
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		select {
		case <-m.disk.Dark():
		case <-ctx.Done():
		case <-done:
			return
		}
		_ = cmd.Process.Kill()
		_ = out.SetReadDeadline(time.Now().Add(time.Second)) // it was its only writer
	}()
	scanner := bufio.NewScanner(out)
	for scanner.Scan() {
		if lines != nil {
			lines(scanner.Text())
		}
	}
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait()
	close(done)
	<-killed
	if ctx.Err() != nil {
		m.errorf("%q took longer than %v: %s", cmd.Args, patience, errors.String())
	}
	return cmd.ProcessState.ExitCode(), errors.String()
}
