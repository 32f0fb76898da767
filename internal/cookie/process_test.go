package cookie

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// childOpen opens path in a child, which ends with what it is warned of.
func childOpen(path string) *Storage {
	s, err := Open(path, Options{Sealer: newSealer("key"), Warn: func(err error) { panic(err) }})
	if err != nil {
		panic(err)
	}
	return s
}

func childFlush(s *Storage) {
	ctx, cancel := timeout()
	defer cancel()
	if err := s.Flush(ctx); err != nil {
		panic(err)
	}
}

// startChild starts this binary as one of children. It is killed at the end of the test at the latest.
func startChild(t *testing.T, name, path string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+name, childEnv+"_PATH="+path,
		"GORACE=atexit_sleep_ms=0") // else a child of a test with -race ends a second late
	cmd.WaitDelay = 10 * time.Second
	stderr, err := os.CreateTemp(t.TempDir(), "stderr")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if text, _ := os.ReadFile(stderr.Name()); len(text) > 0 {
			t.Errorf("child %s: %.2000s", name, text)
		}
		stderr.Close()
	})
	return cmd, bufio.NewReader(out)
}

// childRewrite counts in two cookies, which change together, and says each number once it is durable.
func childRewrite(path string) {
	s := childOpen(path)
	pad := strings.Repeat("x", 3000)
	for n := count(s) + 1; ; n++ {
		for _, name := range []string{"a", "b", fmt.Sprintf("pad%d", n%12)} {
			if err := s.Set(Cookie{Name: name, Value: fmt.Sprintf("%d-%s", n, pad), Domain: "example.org", Expires: time.Now().Add(time.Hour)}); err != nil {
				panic(err)
			}
		}
		childFlush(s)
		fmt.Println(n)
	}
}

// count is the number that childRewrite has come to, which is the same in both cookies, or -1.
func count(s *Storage) int {
	var a, b int
	for _, c := range s.All() {
		switch c.Name {
		case "a":
			fmt.Sscanf(c.Value, "%d-", &a)
		case "b":
			fmt.Sscanf(c.Value, "%d-", &b)
		}
	}
	if a != b {
		return -1
	}
	return a
}

func TestKill(t *testing.T) {
	t.Parallel()
	path := jarPath(t)
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	last, midway := 0, 0
	for round := range 20 {
		cmd, out := startChild(t, "rewrite", path)
		kill := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
		for lines := 1 + r.IntN(2); lines > 0; lines-- {
			if _, err := fmt.Fscan(out, &last); err != nil {
				t.Fatalf("seed %d, round %d: the child ended: %v", seed, round, err)
			}
		}
		time.Sleep(time.Duration(r.IntN(4000)) * time.Microsecond) // any moment of the next writes
		cmd.Process.Kill()
		rest, _ := io.ReadAll(out)
		cmd.Wait()
		kill.Stop()
		for _, line := range strings.Fields(string(rest)) {
			fmt.Sscan(line, &last)
		}
		// The parent is a process like any other: no lock is left, and nothing is damaged (open fails the test if so).
		s := open(t, path)
		if got := count(s); got != last && got != last+1 {
			t.Fatalf("seed %d, round %d: the file has come to %d, and %d was durable", seed, round, got, last)
		}
		switch got := folder(t, path); got {
		case "cookies cookies.lock cookies.tmp":
			midway++
		case "cookies cookies.lock":
		default:
			t.Fatalf("seed %d, round %d: the folder has %s", seed, round, got)
		}
		s.Close()
	}
	t.Logf("%d of 20 kills were in the middle of a write", midway)
}

// childShare sets cookies of its own and one that all share, removes some, and flushes now and then.
func childShare(path string) {
	s := childOpen(path)
	me := os.Getpid()
	for i := range 60 {
		expires := time.Now().Add(time.Hour)
		set := func(name, domain string) {
			if err := s.Set(Cookie{Name: name, Value: fmt.Sprint(me), Domain: domain, Expires: expires}); err != nil {
				panic(err)
			}
		}
		own := fmt.Sprintf("p%d.example", me)
		set(fmt.Sprintf("k%d", i), own)
		set("shared", "example.org")
		if i%3 == 2 {
			if !s.Remove(Cookie{Name: fmt.Sprintf("k%d", i-1), Domain: own, Path: "/"}) {
				panic("one's own cookie is gone")
			}
		}
		if i%12 == 0 {
			childFlush(s)
		}
	}
	if err := s.Close(); err != nil {
		panic(err)
	}
}

func TestSeveralProcesses(t *testing.T) {
	t.Parallel()
	path := jarPath(t)
	const processes = 4
	type child struct {
		cmd *exec.Cmd
		out *bufio.Reader
	}
	var all []child
	for range processes {
		cmd, out := startChild(t, "share", path)
		all = append(all, child{cmd, out})
	}
	for _, c := range all {
		kill := time.AfterFunc(30*time.Second, func() { c.cmd.Process.Kill() })
		io.Copy(io.Discard, c.out)
		if err := c.cmd.Wait(); err != nil {
			t.Errorf("a child: %v", err)
		}
		kill.Stop()
	}
	s := open(t, path)
	shared := 0
	own := map[string]int{}
	for _, c := range s.All() {
		if c.Name == "shared" {
			shared++
			continue
		}
		own[c.Domain]++
	}
	if shared != 1 || len(own) != processes {
		t.Errorf("%d shared cookies, cookies of %d processes", shared, len(own))
	}
	for domain, n := range own {
		if n != 40 {
			t.Errorf("%s has %d cookies, want 40", domain, n)
		}
	}
	if got := folder(t, path); got != "cookies cookies.lock" {
		t.Errorf("the folder has %s", got)
	}
}
