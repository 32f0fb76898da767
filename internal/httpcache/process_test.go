package httpcache

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// childCache is a Cache in a child, over an origin whose bodies tell which they are: the URL's path is their size, and each is of
// another seed, which X-Seed says.
func childCache(folder string, capacity int64) *Cache {
	s, err := Open(folder, FolderOptions{Capacity: capacity, Warn: func(err error) { panic(err) }})
	if err != nil {
		panic(err)
	}
	seed := os.Getpid()
	type what struct{ seed, size int }
	made := make(map[what][]byte) // so that a child does little else than to store
	return New(origin(func(req *http.Request) (*http.Response, error) {
		size, _ := strconv.Atoi(req.URL.Path[1:])
		seed++
		w := what{seed % 4, size}
		if made[w] == nil {
			made[w] = pattern(byte(w.seed), size)
		}
		resp := reply(200, "", "Cache-Control: max-age=3600", `Etag: "1"`, "X-Seed: "+strconv.Itoa(w.seed))
		resp.ContentLength, resp.Body = int64(size), io.NopCloser(bytes.NewReader(made[w]))
		return resp, nil
	}), s, Options{})
}

// ask asks under a policy, and reports whether what came is whole; absent where nothing came.
func ask(c *Cache, size int, p Policy) (whole, absent bool) {
	req, _ := http.NewRequest(http.MethodGet, fmt.Sprintf("https://example.org/%d", size), nil)
	resp, err := c.RoundTrip(req.WithContext(WithPolicy(req.Context(), p)))
	if err != nil {
		return false, true
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	seed, _ := strconv.Atoi(resp.Header.Get("X-Seed"))
	return err == nil && bytes.Equal(body, pattern(byte(seed), size)), false
}

var childSizes = []int{100, 50_000, 100_000, 600_000}

// startChild starts this binary as one of children. It is killed at the end of the test at the latest.
func startChild(t *testing.T, name, folder string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+name, childEnv+"_FOLDER="+folder,
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

// childRewrite stores the same URLs anew without end, and says when it has done so once.
func childRewrite(folder string) {
	c := childCache(folder, 64<<20)
	for n := 0; ; n++ {
		for _, size := range childSizes {
			req := must(fmt.Sprintf("https://example.org/%d", size))
			resp, err := c.RoundTrip(req.WithContext(WithPolicy(req.Context(), ReloadIgnoringLocal)))
			if err != nil {
				panic(err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				panic(err)
			}
			resp.Body.Close()
		}
		if n == 0 {
			fmt.Println("stored")
		}
	}
}

// TestKill: after kill -9 at any instant an entry is whole, and what it leaves else goes.
func TestKill(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	midway := 0
	const rounds = 12
	for round := range rounds {
		cmd, out := startChild(t, "rewrite", folder)
		kill := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
		if _, err := out.ReadString('\n'); err != nil {
			t.Fatalf("seed %d, round %d: the child ended: %v", seed, round, err)
		}
		time.Sleep(time.Duration(r.IntN(8000)) * time.Microsecond) // any moment of the next writes
		cmd.Process.Kill()
		io.Copy(io.Discard, out)
		cmd.Wait()
		kill.Stop()
		before := files(t, folder)
		if len(before[temporaryFile]) > 0 || len(before[bodyOfEntry]) > 2 {
			midway++
		}
		past := time.Now().Add(-2 * orphanAge) // else a body that no entry names may be about to be named
		for _, path := range before[bodyOfEntry] {
			os.Chtimes(path, past, past)
		}
		c := childCache(folder, 64<<20)
		after := files(t, folder)
		if len(after[temporaryFile]) != 0 || len(after[bodyOfEntry]) != 2 || len(after[entryFile]) != len(childSizes) {
			t.Errorf("seed %d, round %d: the folder has %v", seed, round, after)
		}
		for _, size := range childSizes {
			if whole, absent := ask(c, size, ReturnDontLoad); !whole || absent { // it was stored once, and each later one replaces it
				t.Errorf("seed %d, round %d: %d bytes: whole %v, absent %v", seed, round, size, whole, absent)
			}
		}
		c.Close()
	}
	t.Logf("%d of %d kills were in the middle of a write", midway, rounds)
}

// childShare uses a folder that others use too, and that is too small for all.
func childShare(folder string) {
	c := childCache(folder, 8<<20)
	r := rand.New(rand.NewPCG(uint64(os.Getpid()), 0))
	for range 100 {
		size := 1000*r.IntN(20) + childSizes[r.IntN(len(childSizes))]
		switch r.IntN(20) {
		case 0:
			c.storage.remove(func() key { k, _ := keyOf(must(fmt.Sprintf("https://example.org/%d", size))); return k }())
		case 1:
			if err := c.storage.Reset(context.Background()); err != nil {
				panic(err)
			}
		case 2:
			ctx, cancel := timeout()
			if err := c.storage.Flush(ctx); err != nil {
				panic(err)
			}
			cancel()
		default:
			if whole, _ := ask(c, size, Policy(r.IntN(3))); !whole {
				panic(fmt.Sprintf("%d bytes are not whole", size))
			}
		}
	}
}

func must(url string) *http.Request {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		panic(err)
	}
	return req
}

func TestSeveralProcesses(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	var outs []*bufio.Reader
	var cmds []*exec.Cmd
	for range 3 {
		cmd, out := startChild(t, "share", folder)
		cmds, outs = append(cmds, cmd), append(outs, out)
	}
	for i, cmd := range cmds {
		kill := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
		io.Copy(io.Discard, outs[i])
		if err := cmd.Wait(); err != nil {
			t.Errorf("a child: %v", err)
		}
		kill.Stop()
	}
	s := open(t, folder, FolderOptions{Capacity: 8 << 20})
	if size, err := s.Size(); err != nil || size > 8<<20 {
		t.Errorf("%d bytes, %v", size, err)
	}
	if left := files(t, folder)[temporaryFile]; len(left) > 0 {
		t.Errorf("left are %v", left)
	}
}
