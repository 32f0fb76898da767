package credential

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const sharedChanges = 8

func childOpen(path string) *Storage {
	s, err := Open(path, Options{Holders: holders(path), Warn: func(err error) { panic(err) }})
	if err != nil {
		panic(err)
	}
	return s
}

// childShare makes changes of its own.
func childShare(path string) {
	s := childOpen(path)
	ctx, cancel := timeout()
	defer cancel()
	for i := range sharedChanges {
		if err := s.Set(ctx, space(fmt.Sprint(os.Getpid()), fmt.Sprint(i), Basic), user("u", "p")); err != nil {
			panic(err)
		}
		if err := s.Set(ctx, space("gone", fmt.Sprint(os.Getpid(), i), Basic), user("u", "p")); err != nil {
			panic(err)
		}
		if err := s.Remove(ctx, space("gone", fmt.Sprint(os.Getpid(), i), Basic), user("u", "")); err != nil {
			panic(err)
		}
	}
	fmt.Println("done")
}

// childRewrite writes until it is killed, and says what is durable.
func childRewrite(path string) {
	s := childOpen(path)
	ctx, cancel := timeout()
	defer cancel()
	for i := 0; ; i++ {
		if err := s.Set(ctx, space("h", "r", Basic), user("u", fmt.Sprint(i))); err != nil {
			panic(err)
		}
		fmt.Println(i)
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
	must(t, err)
	cmd.Stderr = stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
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

func TestSeveralProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "credentials")
	const processes = 3
	var outs []*bufio.Reader
	for range processes {
		_, out := startChild(t, "share", path)
		outs = append(outs, out)
	}
	for _, out := range outs {
		if line, err := out.ReadString('\n'); line != "done\n" {
			t.Fatalf("a child says %q, %v", line, err)
		}
	}
	if n := len(openStorage(t, path, nil).All()); n != processes*sharedChanges {
		t.Errorf("%d credentials, want %d", n, processes*sharedChanges)
	}
}

// What Set has said to be durable survives kill -9 at any instant, and the file is whole.
func TestKilledWhileItWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "credentials")
	for round := range 5 {
		cmd, out := startChild(t, "rewrite", path)
		said := -1
		for range 2 + round {
			line, err := out.ReadString('\n')
			must(t, err)
			_, err = fmt.Sscan(line, &said)
			must(t, err)
		}
		must(t, cmd.Process.Kill()) // in the midst of the next ones
		for {
			line, err := out.ReadString('\n')
			if err != nil {
				break
			}
			fmt.Sscan(line, &said)
		}
		c, ok := openStorage(t, path, nil).Default(space("h", "r", Basic))
		var stands int
		fmt.Sscan(c.Password.Reveal(), &stands)
		if !ok || stands != said && stands != said+1 {
			t.Errorf("round %d: %d was said, %d stands, %v", round, said, stands, ok)
		}
	}
}
