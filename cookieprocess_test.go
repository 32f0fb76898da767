package urlsession

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
)

const cookiesAProcess = 30

// runGatherProcess is a program of the application that asks for many cookies, some at once.
func runGatherProcess() int {
	if err := gather(os.Getenv("COOKIES_URL"), strconv.Itoa(os.Getpid())); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// gather has a default session be given cookies whose names begin with prefix, and closes it.
func gather(url, prefix string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := Default()
	c.Application = "app"
	s, err := New(c)
	if err != nil {
		return err
	}
	failed := make(chan error, cookiesAProcess)
	var asked sync.WaitGroup
	for i := range cookiesAProcess {
		asked.Go(func() {
			_, _, err := s.Data(ctx, Get(fmt.Sprintf("%s?%s-%d", url, prefix, i)))
			if err == nil && i%10 == 0 {
				err = s.Flush(ctx)
			}
			failed <- err
		})
	}
	asked.Wait()
	for range cookiesAProcess {
		if err := <-failed; err != nil {
			s.Close()
			return err
		}
	}
	return s.Close()
}

// TestProcessesGatherInOneJar: what the sessions of several processes are given at once is all there in the end.
func TestProcessesGatherInOneJar(t *testing.T) {
	j := newJarTest(t)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: r.URL.RawQuery, Value: "1", MaxAge: 3600})
	}))
	defer srv.Close()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	const processes = 3
	ended := make(chan error, processes)
	for range processes {
		cmd := exec.CommandContext(ctx, os.Args[0], "gather")
		cmd.Env = append(os.Environ(), "COOKIES_URL="+srv.URL)
		cmd.Stderr = log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { ended <- cmd.Wait() }()
	}
	if err := gather(srv.URL, "this"); err != nil {
		t.Error(err)
	}
	for range processes {
		if err := <-ended; err != nil {
			text, _ := os.ReadFile(log.Name())
			t.Errorf("a process: %v\n%s", err, text)
		}
	}
	forget()
	all := j.session("app").CookieStorage().All()
	if want := (processes + 1) * cookiesAProcess; len(all) != want {
		t.Errorf("of %d cookies %d are there", want, len(all))
	}
}
