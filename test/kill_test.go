package test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/urlsession/urlsession/urlsessiontest"
)

// A list is worked through by a command that is killed again and again, each time at another request. Whatever has its
// final name is whole at any time, nothing is lost, and in the end nothing else is left.
func TestKilledList(t *testing.T) {
	const files = 100 // more than the requests before all kills, so that no run ends before its own
	body := func(n int) urlsessiontest.Body {
		return urlsessiontest.Body{Seed: uint64(n), Size: int64(n) * 8 << 10}
	}
	srv := urlsessiontest.NewServer()
	defer srv.Close()
	srv.PublishFunc(func(path string) (urlsessiontest.Resource, bool) {
		n, err := strconv.Atoi(strings.TrimPrefix(path, "/"))
		return urlsessiontest.Resource{Content: body(n), ETag: strconv.Quote(path)}, err == nil
	})
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	start := func() *exec.Cmd {
		var list strings.Builder
		for n := 1; n <= files; n++ {
			fmt.Fprintf(&list, "%s/%d\n", srv.URL, n)
		}
		cmd := exec.CommandContext(ctx, binary, "download", "-q", "-i", "-", "-o", "files/")
		cmd.Dir, cmd.Env = dir, []string{"HOME=" + dir}
		cmd.Stdin = strings.NewReader(list.String())
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	check := func() (whole int) {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(dir, "files", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			n, err := strconv.Atoi(filepath.Base(path))
			if err != nil {
				continue // a part file
			}
			if err := body(n).CheckFile(path); err != nil {
				t.Error(err)
			}
			whole++
		}
		return whole
	}
	whole := 0
	for requests := 1; requests <= 12; requests++ {
		arrived, killed := make(chan struct{}, files), make(chan struct{})
		srv.Always(urlsessiontest.Every, func(*urlsessiontest.Reply) { arrived <- struct{}{} })
		cmd := start()
		go func() {
			defer close(killed)
			for range requests {
				select {
				case <-arrived:
				case <-ctx.Done():
				}
			}
			_ = cmd.Process.Kill()
		}()
		if err := cmd.Wait(); err == nil {
			t.Fatal("it was not killed")
		}
		<-killed
		now := check()
		if now < whole {
			t.Fatalf("%d files were whole, and now %d are", whole, now)
		}
		whole = now
	}
	srv.Always(urlsessiontest.Every, urlsessiontest.Honest())
	_ = start().Wait() // 1 where a file is there already; what is there is what counts
	if whole := check(); whole != files {
		t.Errorf("%d of %d files are whole", whole, files)
	}
	left, err := filepath.Glob(filepath.Join(dir, "files", "*.part*"))
	if err != nil || len(left) > 0 {
		t.Errorf("%q is left (%v)", left, err)
	}
}
