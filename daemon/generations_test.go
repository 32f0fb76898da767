package daemon

import (
	"errors"
	"fmt"
	"testing"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/urlsessiontest"
)

func through(proxy string) control.Configuration {
	return control.Configuration{Chain: control.Chain{Proxy: control.Proxy{URL: proxy}}}
}

func TestGenerations(t *testing.T) {
	asked := 0
	used := map[int]bool{}
	inUse := func() (map[int]bool, error) { asked++; return used, nil }
	g := firstGeneration(through("http://p1"))
	with := func(c control.Configuration) {
		t.Helper()
		next, err := g.with(c, inUse)
		must(t, err)
		g = next
	}
	limited := through("http://p1")
	limited.RateLimit = 5
	if with(limited); g.Number != 1 || len(g.Chains) != 0 || g.Newest.RateLimit != 5 {
		t.Errorf("the same chain with another limit: %+v", g)
	}
	for i := 2; i <= maxGenerations; i++ {
		if with(through(fmt.Sprint("http://p", i))); g.Number != i {
			t.Fatalf("chain %d has number %d", i, g.Number)
		}
	}
	if with(through("http://p3")); g.Number != 3 || asked != 0 {
		t.Errorf("an identical chain has number %d", g.Number)
	}
	used[1] = true
	with(through("http://new"))
	if _, ok := g.chain(2); ok || g.Number != maxGenerations+1 || asked != 1 {
		t.Errorf("chain 2, the oldest that nobody uses, is kept; the new one has number %d", g.Number)
	}
	if c, ok := g.chain(1); !ok || c.Proxy.URL != "http://p1" {
		t.Error("chain 1, which is in use, is gone")
	}
	if with(through("http://p2")); g.Number != maxGenerations+2 {
		t.Errorf("a chain that was forgotten came back as number %d: numbers are not used again", g.Number)
	}
	if asked != 1 {
		t.Errorf("after one look at all tasks there was room for one chain alone")
	}
	for i := 0; len(g.Chains) < maxGenerations-1; i++ {
		with(through(fmt.Sprint("http://q", i)))
	}
	for i := range g.Last + 1 {
		used[i] = true
	}
	if _, err := g.with(through("http://one more"), inUse); err == nil {
		t.Error("there is no bound")
	} else {
		says(t, err, "32", "wait")
	}
	broken := errors.New("the disk cannot be read")
	if _, err := g.with(through("http://x"), func() (map[int]bool, error) { return nil, broken }); err != broken {
		t.Errorf("got %v", err)
	}
}

// TestChainOfATask changes the proxy while a task waits that was made before: it goes by the old one, also after a restart.
func TestChainOfATask(t *testing.T) {
	srv := origin(t)
	srv.Publish("/d", urlsessiontest.Resource{Content: urlsessiontest.Bytes("hello")})
	before, after := urlsessiontest.NewProxy(), urlsessiontest.NewProxy()
	t.Cleanup(before.Close)
	t.Cleanup(after.Close)
	state := t.TempDir()
	d := start(t, state)
	by := func(url string) func(*control.Configuration) {
		return func(c *control.Configuration) { c.Chain.Proxy.URL = url }
	}
	c := dial(t, state, "s", by(before.URL))
	spec := data(srv.URL + "/d")
	spec.Suspended = true
	old, older := create(t, c, spec), create(t, c, spec)
	c = dial(t, state, "s", by(after.URL))
	succeed(t, c, create(t, c, data(srv.URL+"/d")))
	must(t, c.Resume(within(t), old))
	succeed(t, c, old)
	d.stop()
	start(t, state)
	must(t, c.Resume(within(t), older))
	rec := succeed(t, c, older)
	if b, a := len(before.Requests()), len(after.Requests()); b != 2 || a != 1 || rec.Spec.Configuration != 1 {
		t.Errorf("%d requests went by the old proxy and %d by the new, want 2 and 1", b, a)
	}
}

// TestChainsInUse has more chains in use by tasks than are kept.
func TestChainsInUse(t *testing.T) {
	state := t.TempDir()
	start(t, state)
	spec := data("http://127.0.0.1:1/")
	spec.Suspended = true
	var first task.ID
	for i := range maxGenerations + 1 {
		c := client(t, state, "s", func(c *control.Configuration) { c.Chain.Proxy.URL = fmt.Sprintf("http://127.0.0.1:%d", i+1) })
		err := c.Open(within(t))
		if i == maxGenerations {
			says(t, err, "in use")
			must(t, c.Cancel(within(t), first))
			end(t, c, first)
			err = c.Open(within(t))
		}
		must(t, err)
		if id := create(t, c, spec); i == 0 {
			first = id
		}
	}
}

func TestLimitsOfTheNewest(t *testing.T) {
	srv := origin(t)
	gate := urlsessiontest.NewGate()
	srv.Always(urlsessiontest.Every, urlsessiontest.HoldAt(urlsessiontest.AtByte(0), gate))
	srv.PublishFunc(func(string) (urlsessiontest.Resource, bool) {
		return urlsessiontest.Resource{Content: urlsessiontest.Bytes("hello")}, true
	})
	state := t.TempDir()
	start(t, state)
	limit := func(n int) func(*control.Configuration) {
		return func(c *control.Configuration) { c.MaximumConnectionsPerHost = n }
	}
	c := dial(t, state, "s", limit(1))
	var ids []task.ID
	for i := range 4 {
		ids = append(ids, create(t, c, data(fmt.Sprint(srv.URL, "/", i))))
	}
	must(t, srv.WaitConnections(within(t), 1))
	dial(t, state, "s", limit(4))
	until(t, "four requests at once", func() bool { return srv.Load().Requests == 4 })
	gate.Open()
	for _, id := range ids {
		succeed(t, c, id)
	}
}
