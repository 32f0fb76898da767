//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestSpansCountEachByteOnce(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		var s spans
		var have [200]bool
		for range 60 {
			begin := r.IntN(len(have))
			end := begin + r.IntN(len(have)-begin+1)
			want := int64(0)
			for i := begin; i < end; i++ {
				if !have[i] {
					have[i], want = true, want+1
				}
			}
			if got := s.add(int64(begin), int64(end)); got != want {
				t.Fatalf("seed %d: %d to %d has %d new bytes, want %d: %v", seed, begin, end, got, want, s)
			}
		}
		for i := 1; i < len(s); i++ {
			if s[i-1][1] >= s[i][0] {
				t.Fatalf("seed %d: not apart and in order: %v", seed, s)
			}
		}
	}
}

func TestSendingTellsTheRateOfWhatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(sending)
		a, b := new(pacedConn), new(pacedConn)
		s.begin()
		s.begin()
		s.add(b, 5_000, 5_100)
		for i := range int64(30) { // 1,000 bytes a second, the same again each time by a connection that gains nothing
			time.Sleep(time.Second / 10)
			s.add(a, i*100, i*100+100)
			s.add(b, i*100, i*100+100)
		}
		s.end()
		got := s.now()
		if got.Bytes != 6_100 || got.Most != 2 || got.atLast() != 1 || got.End != 3 {
			t.Errorf("%+v", got)
		}
		share, ok := got.share(1_000)
		if !ok || share < 1 || share > 1.06 { // the tenth in which the second second begins counts whole
			t.Errorf("%v, %v", share, ok)
		}
		s.add(a, 0, 100)
		if again := s.now(); again.End != 3 {
			t.Errorf("what was sent before has moved the end to %v", again.End)
		}
	})
	if _, ok := (sent{Fresh: []int64{1}, End: .05}).share(1); ok {
		t.Error("what has no second second has a share")
	}
}

// pacedOrigin is a server of a file of 1 MiB.
func pacedOrigin(t *testing.T) (url string, want []byte) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "f")
	if err := randomFile(file, 1, 1<<20); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	url, stop, err := (&lab{self: os.Args[0]}).server(childPaced, file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return url, want
}

func TestPacedServerHonoursRangesAndTellsWhatItSent(t *testing.T) {
	url, want := pacedOrigin(t)
	for _, way := range []string{wayEven, wayShared, wayStalls, wayCrawls} {
		client := &http.Client{Transport: new(http.Transport)}
		defer client.CloseIdleConnections()
		ranges := map[string][]byte{"": want, "bytes=1000-1999": want[1000:2000], "bytes=1048000-": want[1048000:]}
		total := 0
		for header, part := range ranges {
			body, resp, err := get(t.Context(), client, url+"/"+way+"/f", header)
			if err != nil || sha256.Sum256(body) != sha256.Sum256(part) || resp.Header.Get("ETag") != `"bench"` || (resp.StatusCode == http.StatusPartialContent) != (header != "") {
				t.Errorf("%s, %q: %v, %d bytes, %v", way, header, resp.Status, len(body), err)
			}
			total += len(part)
		}
		s := &pacedServer{url: url}
		now, err := s.take(t.Context())
		if err != nil || now.Bytes != int64(total) || now.Most != 1 || now.atLast() <= 0 || now.atLast() > 1 || now.End <= 0 {
			t.Errorf("%s: %+v, %v; want %d bytes", way, now, err, total)
		}
		fresh := int64(0)
		for _, n := range now.Fresh {
			fresh += n
		}
		if fresh != int64(len(want)) {
			t.Errorf("%s: %d bytes were new, want %d", way, fresh, len(want))
		}
		if again, err := s.take(t.Context()); err != nil || again.Bytes != 0 || again.Most != 0 {
			t.Errorf("what was taken is there again: %+v, %v", again, err)
		}
	}
}

func get(ctx context.Context, client *http.Client, url, bytes string) ([]byte, *http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, nil, err
	}
	if bytes != "" {
		req.Header.Set("Range", bytes)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return body, resp, err
}

// One connection in six is slow, and only after what it may send at once: its requests one after the other count together.
func TestPacedServerIsSlowOnOneConnectionInSix(t *testing.T) {
	url, want := pacedOrigin(t)
	for n := range 8 {
		client := &http.Client{Transport: new(http.Transport)}
		defer client.CloseIdleConnections()
		for range slowAfter / len(want) {
			if _, _, err := get(t.Context(), client, url+"/"+wayStalls+"/f", ""); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 1)
		go func() {
			_, _, err := get(ctx, client, url+"/"+wayStalls+"/f", "")
			ended <- err
		}()
		if n == slowOne {
			time.AfterFunc(50*time.Millisecond, cancel)
		}
		if err := <-ended; errors.Is(err, context.Canceled) != (n == slowOne) {
			t.Errorf("connection %d: %v", n, err)
		}
	}
}

// All that ask share one rate, whatever their number.
func TestAllowanceIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a allowance
		var all sync.WaitGroup
		begin := time.Now()
		for range 16 {
			all.Go(func() {
				for range 100 {
					if err := a.wait(t.Context(), sharedRate/1000); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		if took := time.Since(begin); took < 1570*time.Millisecond || took > 1600*time.Millisecond {
			t.Errorf("1,600 times a thousandth of a second's bytes took %v", took)
		}
	})
}
