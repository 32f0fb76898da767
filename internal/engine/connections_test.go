package engine_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

// splits are attempts that hang, and what each may take.
type splits struct {
	mu    sync.Mutex
	begun []task.ID
	by    map[task.ID]transfer.Connections
}

func (s *splits) run(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
	s.mu.Lock()
	s.begun = append(s.begun, a.ID)
	if s.by == nil {
		s.by = make(map[task.ID]transfer.Connections)
	}
	s.by[a.ID] = a.Connections
	s.mu.Unlock()
	return hang(ctx, a)
}

func (s *splits) of(id task.ID) transfer.Connections {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.by[id]
}

func (s *splits) running(id task.ID) bool {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.begun, id)
}

// take takes what there is, at most n, and returns how many that were.
func take(c transfer.Connections, url string, n int) (taken int) {
	for taken < n && c.Take(url) {
		taken++
	}
	return taken
}

// wanted is how many are wanted back since it was asked last.
func wanted(c transfer.Connections) (n int) {
	synctest.Wait()
	for {
		select {
		case <-c.Wanted():
			n++
		default:
			return n
		}
	}
}

func perHost(n int) func(*engine.Options) { return func(o *engine.Options) { o.MaxPerHost = n } }

func atMost(n int) func(*task.Spec) { return func(s *task.Spec) { s.Policy.Connections = n } }

// Of a host's connections a download takes what is left, up to what it may have; what is no download takes none.
func TestTake(t *testing.T) {
	for name, c := range map[string]struct {
		perHost int
		spec    task.Spec
		want    int // -1: it has nothing to take from
	}{
		"a download":             {4, get("http://h/", download), 3},
		"of at most two":         {4, get("http://h/", download, atMost(2)), 1},
		"of more than the host":  {4, get("http://h/", download, atMost(9)), 3},
		"of one":                 {4, get("http://h/", download, atMost(1)), -1},
		"of a host that has one": {1, get("http://h/", download), -1},
		"data":                   {4, get("http://h/"), -1},
	} {
		synctest.Test(t, func(t *testing.T) {
			var s splits
			e := start(t, s.run, perHost(c.perHost))
			id := create(t, e, c.spec)
			taken := -1
			if one := s.of(id); one != nil {
				taken = take(one, "http://h:80/x", 100)
			}
			if taken != c.want {
				t.Errorf("%s takes %d, want %d", name, taken, c.want)
			}
		})
	}
}

// A task never waits for what others have beyond their first: one is asked back for each that waits, and no more.
func TestFurtherConnectionsAreWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s splits
		e := start(t, s.run, perHost(6))
		big := create(t, e, get("http://h/", download))
		c := s.of(big)
		if n := take(c, "http://h/", 9); n != 5 {
			t.Fatalf("took %d", n)
		}
		var small []task.ID
		for range 2 {
			small = append(small, create(t, e, get("http://h/")))
		}
		if n := wanted(c); n != 2 || s.running(small[0]) {
			t.Errorf("%d are wanted by two tasks", n)
		}
		c.Give()
		if !s.running(small[0]) || s.running(small[1]) || c.Take("http://h/") {
			t.Error("one given back is not the first task's")
		}
		c.Give()
		if !s.running(small[1]) || wanted(c) != 0 || c.Take("http://h/") {
			t.Error("nor the second, the second's")
		}
		e.Cancel(t.Context(), small[0])
		e.Cancel(t.Context(), small[1])
		synctest.Wait()
		if n := take(c, "http://h/", 9); n != 2 {
			t.Errorf("of two that are free it takes %d", n)
		}
		for range 9 { // more than were taken
			small = append(small, create(t, e, get("http://h/")))
		}
		if n := wanted(c); n != 5 {
			t.Errorf("%d are wanted of five", n)
		}
	})
}

// What comes back unasked is not asked for.
func TestGivenBackBeforeItIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s splits
		e := start(t, s.run, perHost(3))
		c := s.of(create(t, e, get("http://h/", download)))
		take(c, "http://h/", 2)
		small := create(t, e, get("http://h/"))
		synctest.Wait()
		c.Give()
		if n := wanted(c); n != 0 || !s.running(small) {
			t.Errorf("%d are wanted by nobody", n)
		}
	})
}

func TestWhoHasMostIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s splits
		e := start(t, s.run, perHost(8))
		a, b := s.of(create(t, e, get("http://h/", download))), s.of(create(t, e, get("http://h/", download)))
		if x, y := take(a, "http://h/", 2), take(b, "http://h/", 9); x != 2 || y != 4 {
			t.Fatalf("took %d and %d", x, y)
		}
		for i, want := range [][2]int{{0, 1}, {0, 2}, {1, 2}, {1, 3}, {2, 3}, {2, 4}, {2, 4}} {
			create(t, e, get("http://h/"))
			synctest.Wait()
			if got := [2]int{len(a.Wanted()), len(b.Wanted())}; got != want && got != [2]int{want[1] - 1, want[0] + 1} {
				t.Errorf("after %d tasks %v are wanted, want %v", i+1, got, want)
			}
		}
	})
}

// Tasks of a host of HTTP/2 share a connection: they wait for no further ones, of which there are one less than it may have.
func TestFurtherConnectionsOfAMultiplexedHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s splits
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			a.Observer.Response(ctx, &task.Response{URL: "https://h/", Status: 200, Proto: "HTTP/2.0"})
			return s.run(ctx, a)
		}, perHost(4))
		a := s.of(create(t, e, get("https://h/", download)))
		b := s.of(create(t, e, get("https://h/", download)))
		var last task.ID
		for range 50 {
			last = create(t, e, get("https://h/"))
		}
		synctest.Wait()
		if x, y := take(a, "https://h/", 2), take(b, "https://h/", 9); x != 2 || y != 1 {
			t.Errorf("took %d and %d", x, y)
		}
		for range 50 {
			create(t, e, get("https://h/"))
		}
		if !s.running(last+48) || s.running(last+49) || wanted(a)+wanted(b) != 0 {
			t.Error("streams and connections are counted together")
		}
		if a.Give(); a.Take("https://h/") {
			t.Error("it takes one while tasks wait")
		}
		e.SetLimits(2, 0)
		if n := wanted(a) + wanted(b); n != 1 {
			t.Errorf("%d of two are wanted back, of which one may be", n)
		}
	})
}

// After a redirect they are the other host's, where the attempt has its first too.
func TestFurtherConnectionsOfAnotherHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s splits
		e := start(t, s.run, perHost(3))
		one, two := create(t, e, get("http://h/1", download)), create(t, e, get("http://h/2", download))
		if n := take(s.of(one), "http://cdn/1", 1); n != 1 || s.of(one).Take("http://h/1") {
			t.Errorf("took %d, and one of another host", n)
		}
		if n := take(s.of(one), "http://cdn/1", 9); n != 1 {
			t.Errorf("took %d", n)
		}
		if n := take(s.of(two), "http://cdn/2", 9); n != 0 {
			t.Errorf("the host is full, and has %d more", n)
		}
		if create(t, e, get("http://h/3")); !s.running(3) {
			t.Error("the host that it was redirected by has a connection, and a task that waits for it")
		}
		small := create(t, e, get("http://cdn/4"))
		if n := wanted(s.of(one)); n != 2 || !s.running(small) { // with two first ones and this there is room for none
			t.Errorf("%d are wanted", n)
		}
		s.of(one).Give()
		s.of(one).Give()
		e.Cancel(t.Context(), small)
		e.Cancel(t.Context(), two) // whose visit ends
		synctest.Wait()
		if n := take(s.of(one), "http://cdn/1", 9); n != 2 {
			t.Errorf("took %d", n)
		}
		e.Cancel(t.Context(), one)
		synctest.Wait()
		five := create(t, e, get("http://cdn/5", download))
		if n := take(s.of(five), "http://cdn/5", 9); n != 2 {
			t.Errorf("what the others had is not given back: %d", n)
		}
	})
}

// A host that wants to be left alone has no further connections made.
func TestTakeWhileTheHostIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s splits
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			if a.Spec.Kind == task.Data {
				return answer(503, "Retry-After", "10")(ctx, a)
			}
			return s.run(ctx, a)
		})
		c := s.of(create(t, e, get("http://h/", download)))
		id := create(t, e, get("http://h/", retries(1)))
		synctest.Wait()
		if c.Take("http://h/") {
			t.Error("it took one")
		}
		end(t, e, id)
		if !c.Take("http://h/") {
			t.Error("later it takes none")
		}
	})
}

// However an attempt ends, what it had taken is the next one's, and nothing it does later counts.
func TestAttemptsEndGivesBack(t *testing.T) {
	for name, stop := range map[string]func(*testing.T, *engine.Engine, task.ID){
		"suspended": func(t *testing.T, e *engine.Engine, id task.ID) { e.Suspend(t.Context(), id) },
		"cancelled": func(t *testing.T, e *engine.Engine, id task.ID) { e.Cancel(t.Context(), id) },
		"moved":     func(t *testing.T, e *engine.Engine, id task.ID) { e.ReplaceURL(t.Context(), id, "http://other/") },
	} {
		synctest.Test(t, func(t *testing.T) {
			var s splits
			e := start(t, s.run, perHost(4))
			id := create(t, e, get("http://h/", download))
			c := s.of(id)
			take(c, "http://h/", 3)
			stop(t, e, id)
			next := create(t, e, get("http://h/", download))
			d := s.of(next)
			if n := take(d, "http://h/", 2); n != 2 {
				t.Errorf("%s: of four connections the next one has %d more", name, n)
			}
			c.Give()
			if c.Take("http://h/") || take(d, "http://h/", 9) != 1 {
				t.Errorf("%s: who has ended takes and gives", name)
			}
		})
	}
}

// An attempt that panics in the goroutine of Run, too.
func TestPanicGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s splits
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			if a.ID == 1 {
				if take(a.Connections, "http://h/", 2) != 2 {
					t.Error("it took none")
				}
				panic("the app's")
			}
			return s.run(ctx, a)
		}, perHost(3))
		func() {
			defer func() { _ = recover() }()
			e.Run(t.Context(), get("http://h/", download), new(pinned))
		}()
		if n := take(s.of(create(t, e, get("http://h/", download))), "http://h/", 9); n != 2 {
			t.Errorf("the next one has %d", n)
		}
	})
}

// A limit that shrinks is kept to as soon as can be; one that grows is for the attempts that begin then.
func TestSetLimitsOfFurtherConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s splits
		e := start(t, s.run, perHost(6))
		c := s.of(create(t, e, get("http://h/", download)))
		take(c, "http://h/", 9)
		e.SetLimits(4, 0)
		if n := wanted(c); n != 2 {
			t.Errorf("%d are wanted", n)
		}
		c.Give()
		c.Give()
		e.SetLimits(1, 0)
		if n := wanted(c); n != 3 {
			t.Errorf("%d are wanted", n)
		}
		for range 3 {
			c.Give()
		}
		e.SetLimits(9, 0)
		if n := take(c, "http://h/", 9); n != 5 {
			t.Errorf("it takes %d, of a RoundTripper that was made for six", n)
		}
		if n := take(s.of(create(t, e, get("http://h/", download))), "http://h/", 9); n != 2 {
			t.Errorf("another takes %d", n)
		}
	})
}
