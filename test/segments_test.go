package test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/urlsession/urlsession/internal/partial"
	"github.com/urlsession/urlsession/urlsessiontest"
)

const (
	// paceRate is what an origin gives each connection, so that a file comes over several.
	paceRate = 8 * mib
	// onTheWay is what the kernel and one connection's buffers may hold when a process is killed: an eighth of a second's.
	onTheWay = paceRate / 8
)

// spreadRun is one file of an origin that holds each connection back, and the commands that download it one after the other.
type spreadRun struct {
	*urlsessiontest.Server
	t     *testing.T
	ctx   context.Context
	dir   string
	begun int // requests before the command that runs now
}

func newSpreadRun(t *testing.T) *spreadRun {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	x := &spreadRun{Server: urlsessiontest.NewServer(urlsessiontest.ConnectionRate(paceRate)), t: t, ctx: ctx, dir: t.TempDir()}
	t.Cleanup(x.Close)
	return x
}

// start starts a command that downloads the file.
func (x *spreadRun) start(args ...string) *exec.Cmd {
	x.t.Helper()
	x.idle()
	x.begun = x.Count("/f")
	cmd := exec.CommandContext(x.ctx, binary, append([]string{"download", "-q", "-o", "f", x.URL + "/f"}, args...)...)
	cmd.Dir, cmd.Env, cmd.Stderr = x.dir, []string{"HOME=" + x.dir}, os.Stderr
	if err := cmd.Start(); err != nil {
		x.t.Fatal(err)
	}
	return cmd
}

// idle waits until the origin has noticed that the last command is gone.
func (x *spreadRun) idle() {
	x.t.Helper()
	if err := x.WaitIdle(x.ctx); err != nil {
		x.t.Fatal(err)
	}
}

// atOnce is the most requests of the command that runs now, or ran last, that were answered at once.
func (x *spreadRun) atOnce() int { return atOnce(x.RequestsTo("/f")[x.begun:]) }

// atOnce is the most of the requests that were answered at once.
func atOnce(requests []urlsessiontest.Request) (most int) {
	for _, r := range requests {
		n := 0
		for _, other := range requests {
			if !other.Time.After(r.Time) && (other.Ended.IsZero() || other.Ended.After(r.Time)) {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// stop sends a signal once the origin has sent so many bytes in all, and returns the exit status, -1 of a killed one.
func (x *spreadRun) stop(cmd *exec.Cmd, sent int64, signal os.Signal) int {
	x.t.Helper()
	if err := x.WaitSent(x.ctx, "/f", sent); err != nil {
		x.t.Fatal(err)
	}
	if err := cmd.Process.Signal(signal); err != nil {
		x.t.Fatal(err)
	}
	err := cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok || exit == nil {
		x.t.Fatalf("it has ended in place of being stopped (%v)", err)
	}
	return cmd.ProcessState.ExitCode()
}

// held is what the record says.
func (x *spreadRun) held() partial.Ranges {
	x.t.Helper()
	found, err := filepath.Glob(filepath.Join(x.dir, "f.*.part.json"))
	if err != nil || len(found) != 1 {
		x.t.Fatalf("records: %q (%v)", found, err)
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		x.t.Fatal(err)
	}
	record, err := partial.ParseRecord(text)
	if err != nil {
		x.t.Fatal(err)
	}
	return record.Held
}

// finish waits until the command has succeeded: the file is there, whole, and nothing beside it.
func (x *spreadRun) finish(cmd *exec.Cmd, body urlsessiontest.Body) {
	x.t.Helper()
	if err := cmd.Wait(); err != nil {
		x.t.Fatal(err)
	}
	if err := body.CheckFile(filepath.Join(x.dir, "f")); err != nil {
		x.t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(x.dir, "f.*")); err != nil || len(left) > 0 {
		x.t.Errorf("%q is left (%v)", left, err)
	}
}

// A download over several connections that is stopped goes on with the same command, over as many as that one is to have. What
// a kill costs is bounded in all, not for each connection. A file that has become another meanwhile is fetched anew.
func TestStoppedSegments(t *testing.T) {
	body := urlsessiontest.Body{Seed: 1, Size: 48 * mib}
	other := urlsessiontest.Body{Seed: 2, Size: body.Size}
	for _, c := range []struct {
		name    string
		signal  os.Signal
		status  int
		args    []string // of the second command
		changed bool
		again   int64 // bytes that may be fetched twice, beside what is on its way
	}{
		{"killed", syscall.SIGKILL, -1, nil, false, partial.UnrecordedLimit},
		{"killed, then one connection", syscall.SIGKILL, -1, []string{"-x", "1"}, false, partial.UnrecordedLimit},
		{"killed, and changed", syscall.SIGKILL, -1, nil, true, 0},
		{"interrupted", syscall.SIGINT, 130, nil, false, 0},
		{"interrupted, then one connection", syscall.SIGINT, 130, []string{"-x", "1"}, false, 0},
		{"interrupted, and changed", syscall.SIGINT, 130, nil, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x := newSpreadRun(t)
			x.Publish("/f", urlsessiontest.Resource{Content: body, ETag: `"v1"`})
			cmd := x.start()
			if status := x.stop(cmd, 16*mib+rand.Int64N(10*mib), c.signal); status != c.status {
				t.Errorf("exit status %d, want %d", status, c.status)
			}
			first := x.atOnce()
			if first < 2 {
				t.Fatalf("it had %d connections at most", first)
			}
			want := body
			if c.changed {
				want = other
				x.Publish("/f", urlsessiontest.Resource{Content: other, ETag: `"v2"`})
			}
			held := x.held()
			useful := body.Size // of what is sent in all
			if c.changed {
				x.idle()
				useful += x.Sent("/f")
			}
			cmd = x.start(c.args...)
			x.finish(cmd, want)
			t.Logf("%d connections, then %d; %d ranges of %d MiB were held; %d KiB were fetched again",
				first, x.atOnce(), len(held), held.Total()/mib, (x.Sent("/f")-useful)>>10)
			if second := x.atOnce(); second < 2 != slices.Contains(c.args, "-x") {
				t.Errorf("with %q it had %d connections at most", c.args, second)
			}
			if again := x.Sent("/f") - useful; again > c.again+int64(first)*onTheWay {
				t.Errorf("%d bytes were fetched again", again)
			}
			for _, r := range x.RequestsTo("/f")[x.begun:] {
				var from int64
				if _, err := fmt.Sscanf(r.Range(), "bytes=%d-", &from); err != nil || c.changed {
					continue
				}
				if held.Contains(from, from+1) {
					t.Errorf("%s was asked for, of which %v were held", r.Range(), held)
				}
			}
		})
	}
}

// A command that is killed again and again loses no more each time, and gets there.
func TestKilledSegments(t *testing.T) {
	t.Parallel()
	const kills = 4
	body := urlsessiontest.Body{Seed: 3, Size: 128 * mib}
	x := newSpreadRun(t)
	x.Publish("/f", urlsessiontest.Resource{Content: body, ETag: `"v1"`})
	allowed, spread := int64(0), 0
	for range kills {
		cmd := x.start()
		before := x.Sent("/f")
		x.stop(cmd, before+24*mib+rand.Int64N(6*mib), syscall.SIGKILL) // far more than may be lost
		n := x.atOnce()
		if n > 1 {
			spread++
		}
		allowed += min(partial.UnrecordedLimit+int64(n)*onTheWay, x.Sent("/f")-before)
	}
	x.finish(x.start(), body)
	n := x.atOnce()
	t.Logf("%d of %d kills in the midst of several connections, %d MiB fetched again, %d connections in the end", spread, kills, (x.Sent("/f")-body.Size)/mib, n)
	if again := x.Sent("/f") - body.Size; again > allowed+int64(n)*onTheWay {
		t.Errorf("%d bytes were fetched again, more than %d", again, allowed)
	}
	if spread == 0 {
		t.Error("no kill came in the midst of several connections")
	}
}
