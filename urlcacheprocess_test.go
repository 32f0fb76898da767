package urlsession

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urlsession/urlsession/urlsessiontest"
)

// runCacheProcess is a program of the application. It asks for a URL again and again, under a policy, and says how each went; with
// "reload" until it is killed.
func runCacheProcess() int {
	time.AfterFunc(patience, func() { os.Exit(3) }) // whatever becomes of the parent
	c := Default()
	c.Application = "app"
	c.CookieStorage = nil
	reload := os.Getenv("CACHE_HOW") == "reload"
	if reload {
		c.RequestCachePolicy = CacheReloadIgnoringLocal
	}
	s, err := New(c)
	for n := 0; err == nil && (reload || n < 20); n++ {
		var body []byte
		if body, _, err = s.Data(context.Background(), Get(os.Getenv("CACHE_URL"))); err != nil {
			break
		}
		if err = (urlsessiontest.Body{Seed: 5, Size: largeSize}).Check(bytes.NewReader(body)); err == nil && n == 0 {
			fmt.Println("stored")
		}
	}
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// startProgram starts another program of the application, and waits until it has stored something. It ends with the test at the
// latest.
func (c *cacheTest) startProgram(how string) (cmd *exec.Cmd, said func() string) {
	c.t.Helper()
	log, err := os.Create(filepath.Join(c.t.TempDir(), "log"))
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close()
	cmd = exec.Command(os.Args[0], "cache")
	cmd.Env = append(os.Environ(), "CACHE_URL="+c.srv.URL+"/large", "CACHE_HOW="+how, "GORACE=atexit_sleep_ms=0")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	said = func() string {
		text, _ := os.ReadFile(log.Name())
		return string(text)
	}
	for deadline := time.Now().Add(patience); !strings.HasPrefix(said(), "stored\n"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("the other process has stored nothing: %s", said())
		}
	}
	return cmd, said
}

// TestKilledWhileItStores: what a session of the next process finds is whole, whenever the one before was killed.
func TestKilledWhileItStores(t *testing.T) {
	c := newCacheTest(t)
	body := urlsessiontest.Body{Seed: 5, Size: largeSize}
	midway := 0
	for round := range 6 {
		cmd, said := c.startProgram("reload")
		asked := c.srv.Count("/large")
		if err := c.srv.WaitRequests(within(t), "/large", asked+1); err != nil {
			t.Fatalf("%v\n%s", err, said())
		}
		time.Sleep(time.Duration(round) * time.Millisecond) // any moment of the next writes
		cmd.Process.Kill()
		cmd.Wait()
		if part, _ := filepath.Glob(filepath.Join(c.home, "urlsession", "app", "*.tmp")); len(part) > 0 {
			midway++
		}
		forgetCaches()
		c.open("app", nil)
		r := Get(c.srv.URL + "/large")
		r.CachePolicy = CacheReturnDontLoad // it was stored once, and each later one replaces it
		got, _, err := c.do(r)
		if err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		if err := body.Check(strings.NewReader(got.body)); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		if err := c.s.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d of 6 kills left a temporary file", midway)
	c.has("1")
	c.open("app", nil)
	c.want(answer{200, "1", FetchNetwork, 1}, CachePolicyDefault)
	if part, _ := filepath.Glob(filepath.Join(c.home, "urlsession", "app", "*.tmp")); len(part) > 0 {
		t.Errorf("what kills have left stays: %v", part)
	}
}

// TestTwoProcessesOneCache: both store the same URL again and again, and each finds whole what either has stored.
func TestTwoProcessesOneCache(t *testing.T) {
	c := newCacheTest(t)
	other, otherSaid := c.startProgram("reload")
	reader, readerSaid := c.startProgram("use")
	body := urlsessiontest.Body{Seed: 5, Size: largeSize}
	c.open("app", nil)
	for n := range 20 {
		r := Get(c.srv.URL + "/large")
		if n%4 == 3 {
			r.CachePolicy = CacheReloadIgnoringLocal
		}
		got, _, err := c.do(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := body.Check(strings.NewReader(got.body)); err != nil {
			t.Error(err)
		}
	}
	if err := reader.Wait(); err != nil {
		t.Errorf("%v\n%s", err, readerSaid())
	}
	other.Process.Kill()
	other.Wait()
	if text := otherSaid(); text != "stored\n" {
		t.Errorf("the other process says %q", text)
	}
	if err := c.s.Close(); err != nil {
		t.Error(err)
	}
}
