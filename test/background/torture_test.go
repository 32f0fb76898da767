package background

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/partial"
	"github.com/urlsession/urlsession/urlsessiontest"
)

var (
	tortureKills = flag.Int("torture.kills", 20, "how often the torture kills the daemon; the app is killed a third as often")
	tortureTasks = flag.Int("torture.tasks", 60, "how many tasks the torture has")
	tortureSeed  = flag.Uint64("torture.seed", 0, "of the torture's generator; 0: a random one")
)

// The daemon and the app are killed again and again, at random, while the daemon works through a plan of downloads, uploads
// and data tasks. In the end all is there, once and right, and little was fetched twice.
//
// How far the transfers have come says when the next kill is, so that the kills are spread over the work on any machine; some
// come while the daemon starts. One in six is a SIGTERM, after which the daemon ends well.
func TestTorture(t *testing.T) {
	t.Parallel()
	seed := *tortureSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	r := rand.New(rand.NewPCG(seed, 0))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("repeat it by -torture.seed %d -torture.kills %d -torture.tasks %d", seed, *tortureKills, *tortureTasks)
		}
	})
	x := newTorture(t, r)
	x.run(r)
	x.check()
}

// paceRate is what a paced origin gives each connection, in bytes a second.
const paceRate = 8 * mib

// torture is one run of it.
type torture struct {
	t       *testing.T
	plan    plan
	origin  *urlsessiontest.Server
	paced   []*urlsessiontest.Server // each of the downloads of one group that come over several connections, which no other task waits for
	uploads []*receiver              // by tortureProtocols
	breaks  map[string]*breakages    // of the uploads to them, by their keys
	store   *urlsessiontest.MultipartServer
	apart   map[int]apart // by their jobs
	k       *keeper
	kills   int           // of the daemon, so far
	lives   []time.Time   // when each of them was
	spread  int           // kills of the daemon while a record had holes
	amid    int           // kills of the daemon while a server had a part of an upload
	lacked  map[int]int64 // what the records of jobs lacked after the last kill; what is there still need not be lost by the next
	total   int64         // bytes of all jobs

	planFile, appLog string
	app              *exec.Cmd
	ended            chan error // receives when the app has
}

func newTorture(t *testing.T, r *rand.Rand) *torture {
	x := &torture{t: t, k: newKeeper(t), lacked: make(map[int]int64)}
	dir := t.TempDir()
	x.planFile, x.appLog = filepath.Join(dir, "plan.json"), filepath.Join(dir, "app.log")
	x.origin = urlsessiontest.NewServer(urlsessiontest.KeepRequests(1 << 20))
	t.Cleanup(x.origin.Close)
	x.plan = plan{
		State: x.k.state, URL: x.origin.URL, Folder: filepath.Join(dir, "files"), Log: filepath.Join(dir, "events.log"),
		Jobs: newJobs(r, *tortureTasks),
	}
	x.receive()
	x.receiveParts()
	x.origin.PublishFunc(x.plan.resource)
	for range (*tortureTasks-1)/groupSize + 1 {
		srv := urlsessiontest.NewServer(urlsessiontest.KeepRequests(1<<20), urlsessiontest.ConnectionRate(paceRate))
		t.Cleanup(srv.Close)
		srv.PublishFunc(x.plan.resource)
		x.paced, x.plan.Paced = append(x.paced, srv), append(x.plan.Paced, srv.URL)
	}
	for _, j := range x.plan.Jobs {
		x.total += j.Size
	}
	if err := os.Mkdir(x.plan.Folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := x.plan.writeSources(); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(x.plan)
	if err == nil {
		err = os.WriteFile(x.planFile, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// run kills, and then lets the app come to its end.
func (x *torture) run(r *rand.Rand) {
	x.k.start()
	x.startApp()
	appKills := 0
kills:
	for x.kills < *tortureKills {
		left := int64(*tortureKills - x.kills)
		switch r.IntN(6) {
		case 0: // in the midst of its start, or just after it
			if x.pause(time.Duration(r.Int64N(int64(60 * time.Millisecond)))) {
				break kills
			}
		case 1: // in the midst of several connections
			x.k.ready()
			if x.await(x.pacedSent, x.pacedSent()+6*mib+r.Int64N(8*mib), 2*time.Second) {
				break kills
			}
		case 2: // in the midst of uploads
			x.k.ready()
			if x.await(x.uploaded, x.uploaded()+64*kib+r.Int64N(8*mib), 2*time.Second) {
				break kills
			}
		default:
			x.k.ready()
			some := 2*max(x.total-x.sent(), 0)/(left+1) + mib
			if x.await(x.sent, x.sent()+r.Int64N(some), time.Duration(r.Int64N(int64(600*time.Millisecond)))) {
				break kills
			}
		}
		killApp := x.kills%3 == 2
		if killApp && r.IntN(2) == 0 {
			x.killApp()
			appKills++
			x.startApp()
			killApp = false
		}
		x.lives = append(x.lives, time.Now())
		if r.IntN(6) == 0 {
			x.k.ready()
			x.k.terminate()
			x.checkRecords(0)
		} else {
			x.k.kill()
			x.checkRecords(partial.UnrecordedLimit)
		}
		x.kills++
		if x.amidUploads() {
			x.amid++
		}
		if killApp {
			x.killApp()
			appKills++
			x.startApp()
		}
		x.k.start()
	}
	x.k.ready()
	select {
	case err := <-x.ended:
		x.appEnded(err)
	case <-time.After(patience + time.Duration(x.total>>20)*100*time.Millisecond):
		x.t.Errorf("after %d kills the tasks do not end", x.kills)
	}
	x.t.Logf("%d tasks of %d MiB, %d kills of the daemon, %d of them amid several connections, %d amid uploads, %d of the app, %d MiB sent", len(x.plan.Jobs), x.total>>20, x.kills, x.spread, x.amid, appKills, x.sent()>>20)
	if x.spread == 0 && x.kills >= 20 {
		x.t.Error("no kill came in the midst of several connections")
	}
	if x.amid == 0 && x.kills >= 20 {
		x.t.Error("no kill came in the midst of an upload")
	}
	if x.kills < *tortureKills {
		x.t.Logf("the tasks ended before %d more kills", *tortureKills-x.kills)
	}
}

// sent is how many bytes the origins have sent.
func (x *torture) sent() (n int64) {
	for _, j := range x.plan.Jobs {
		n += x.server(j).Sent(j.path())
	}
	return n
}

// pacedSent is how many the paced origins have.
func (x *torture) pacedSent() (n int64) {
	for _, j := range x.plan.Jobs {
		if j.Spread {
			n += x.server(j).Sent(j.path())
		}
	}
	return n
}

// server is the origin of a job.
func (x *torture) server(j job) *urlsessiontest.Server {
	if j.Spread {
		return x.paced[j.Number/groupSize]
	}
	return x.origin
}

// await waits until so much was sent, and no longer than that. true: the app has ended.
func (x *torture) await(sent func() int64, until int64, most time.Duration) bool {
	for end := time.Now().Add(most); time.Now().Before(end) && sent() < until; {
		if x.pause(time.Millisecond) {
			return true
		}
	}
	return false
}

func (x *torture) pause(d time.Duration) (ended bool) {
	select {
	case err := <-x.ended:
		x.ended <- err
		return true
	case <-time.After(d):
		return false
	}
}

func (x *torture) startApp() {
	cmd := exec.Command(self(x.t))
	cmd.Env = append(isolated(filepath.Dir(x.planFile)), roleVariable+"=app", planVariable+"="+x.planFile)
	log, err := os.OpenFile(x.appLog, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		x.t.Fatal(err)
	}
	defer log.Close() // the child has its own
	cmd.Stdout, cmd.Stderr = log, log
	stdin, err := cmd.StdinPipe() // it ends with us
	if err != nil {
		x.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		x.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		stdin.Close()
		ended <- err
	}()
	x.app, x.ended = cmd, ended
	x.t.Cleanup(func() { _ = cmd.Process.Kill() }) // it has ended, mostly
}

// killApp ends the app, as SIGKILL does. One that has ended by itself stays so.
func (x *torture) killApp() {
	_ = x.app.Process.Kill()
	err := <-x.ended // nothing outlives SIGKILL
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.Exited() {
		x.appEnded(err)
	}
}

// appEnded takes the app's end by itself, which is an error unless it has seen all.
func (x *torture) appEnded(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatalf("the app has failed: %v\n%s", err, tail(x.appLog))
	}
}

// tail is the end of a log.
func tail(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	const most = 16 * kib
	if end, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(0, end-most), io.SeekStart)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return fmt.Sprint(string(b), err)
	}
	return string(b)
}
