package background

import (
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/urlsession/urlsession"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// movedProtocols are those of uploads whose way is lost.
var movedProtocols = []protocol{
	{Name: "auto", How: urlsession.ResumableAuto, Method: http.MethodPost},
	{Name: "ietf", How: urlsession.ResumableIETF, Method: http.MethodPut},
	{Name: "tus", How: urlsession.ResumableTus, Method: http.MethodPost, Tusd: true},
}

// What an upload goes through is gone, twice, with all that it held, and comes back at the same address: the upload goes on from what
// the server has, which reads nothing again.
func TestUploadWhoseRelayGoes(t *testing.T) {
	t.Parallel()
	k := running(t)
	process := urlsession.Ephemeral()
	process.Retries, process.Proxy = 10, urlsession.NoProxy()
	for i, c := range []urlsession.Configuration{process, k.configuration("com.example.relay")} {
		s := k.session(c)
		for _, p := range movedProtocols {
			body := urlsessiontest.Body{Seed: 5, Size: 4 * mib}
			stalls := &stalls{after: []int64{1 + rand.Int64N(body.Size/2), 1 + rand.Int64N(body.Size/4)}}
			srv := newReceiver(t, p, stalls.next)
			r := newRelay(t, srv.url, "127.0.0.1:0", nil)
			ctx := bounded(t)
			up, err := s.UploadTask(ctx, p.request(r.url, "film", urlsession.Bytes(body.Bytes())))
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range []int64{stalls.after[0], stalls.after[0] + stalls.after[1]} {
				if err := srv.wait(ctx, n); err != nil {
					t.Fatal(err)
				}
				at := r.address()
				r.goes()
				r.comes(at)
			}
			if _, err = up.Wait(ctx); err == nil {
				err = srv.ended("film", body)
			}
			if again := srv.received("film") - body.Size; err != nil || again != 0 {
				t.Errorf("%d, %s, gone at %v: %v; %d bytes came again; %+v; read of its requests: %d", i, p.Name, stalls, err, again, srv.held("film"), srv.contents("film"))
			}
		}
	}
}

// The machine leaves one network and joins another in the midst of an upload: the address that it came from is gone, and the connection
// is dead without a word. Once that has been noticed (TimeoutForRequest) the upload goes on by the other network.
func TestUploadByAnotherNetwork(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, for network namespaces")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs the command ip (iproute2)")
	}
	// The server has one address, which each of two networks leads to.
	here, there := newNetwork(t), newNetwork(t)
	for n := range 2 {
		link, net := strconv.Itoa(n), "192.0.2."
		if n > 0 {
			net = "198.51.100."
		}
		here.ip(t, "link add out"+link+" type veth peer name in"+link+" netns "+strconv.Itoa(there.thread))
		here.ip(t, "addr add "+net+"2/24 dev out"+link)
		there.ip(t, "addr add "+net+"1/24 dev in"+link)
		there.ip(t, "link set in"+link+" up")
	}
	here.ip(t, "link set lo up")
	there.ip(t, "link set lo up")
	there.ip(t, "addr add 203.0.113.1/32 dev lo")
	move := func(from, to, gateway string) {
		here.ip(t, "addr flush dev "+from)
		here.ip(t, "link set "+from+" down")
		here.ip(t, "link set "+to+" up")
		here.ip(t, "route add default via "+gateway)
	}
	k := newKeeper(t)
	here.do(k.start)
	k.ready()
	for _, p := range movedProtocols {
		here.ip(t, "addr replace 192.0.2.2/24 dev out0")
		here.ip(t, "addr replace 198.51.100.2/24 dev out1")
		here.ip(t, "link set out1 down")
		here.ip(t, "link set out0 up")
		here.ip(t, "route replace default via 192.0.2.1")
		c := k.configuration("com.example.moved." + strings.Fields(p.Name)[0])
		c.TimeoutForRequest = time.Second
		body := urlsessiontest.Body{Seed: 5, Size: 4 * mib}
		stalls := &stalls{after: []int64{1 + rand.Int64N(body.Size/2)}}
		srv := newReceiver(t, p, stalls.next)
		r := newRelay(t, srv.url, "203.0.113.1:0", func(address string) (l net.Listener, err error) {
			there.do(func() { l, err = net.Listen("tcp", address) })
			return l, err
		})
		ctx := bounded(t)
		up, err := k.session(c).UploadTask(ctx, p.request(r.url, "film", urlsession.Bytes(body.Bytes())))
		if err != nil {
			t.Fatal(err)
		}
		if err := srv.wait(ctx, stalls.after[0]); err != nil {
			t.Fatal(err)
		}
		move("out0", "out1", "198.51.100.1")
		if _, err = up.Wait(ctx); err == nil {
			err = srv.ended("film", body)
		}
		if !r.asked("192.0.2.2") || !r.asked("198.51.100.2") {
			t.Errorf("%s: it did not come from both addresses", p.Name)
		}
		if again := srv.received("film") - body.Size; err != nil || again != 0 {
			t.Errorf("%s, moved at %v: %v; %d bytes came again; %+v; read of its requests: %d", p.Name, stalls, err, again, srv.held("film"), srv.contents("film"))
		}
	}
}

// network is a network namespace, and a thread that is in it.
type network struct {
	thread int
	work   chan func()
}

func newNetwork(t testing.TB) *network {
	t.Helper()
	n := &network{work: make(chan func())}
	begun := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		n.thread = syscall.Gettid()
		err := syscall.Unshare(syscall.CLONE_NEWNET)
		begun <- err
		if err != nil {
			return
		}
		for f := range n.work {
			f()
		}
	}()
	if err := <-begun; err != nil {
		t.Skipf("this machine gives no network namespace: %v", err)
	}
	t.Cleanup(func() { close(n.work) })
	return n
}

// do runs f in it: sockets that f makes are of it, and processes that f starts.
func (n *network) do(f func()) {
	done := make(chan struct{})
	n.work <- func() {
		defer close(done)
		f()
	}
	<-done
}

func (n *network) ip(t testing.TB, args string) {
	t.Helper()
	n.do(func() {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Errorf("ip %s: %v: %s", args, err, out)
		}
	})
}
