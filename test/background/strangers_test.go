package background

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/urlsession/urlsession"
)

// ask asks the daemon as it stands, and answers status and body.
func (k *keeper) ask(request string) (status int, body string) {
	k.t.Helper()
	conn, err := net.DialTimeout("unix", k.socket(), patience)
	if err != nil {
		k.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, strings.ReplaceAll(request, "\n", "\r\n")); err != nil {
		k.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		k.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		k.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// A client that is older or newer than the daemon is refused before anything is done, and told what to do; and so is a web
// page, whichever way it comes.
func TestOtherVersionsAndWebPages(t *testing.T) {
	t.Parallel()
	k := running(t)
	for _, c := range []struct {
		head string
		want int // 0: any refusal
		say  string
	}{
		{"Host: urlsession\nUrlsession-Api: 1\n", http.StatusOK, ""},
		{"Host: urlsession\n", http.StatusOK, ""}, // curl
		{"Host: urlsession\nUrlsession-Api: 0\n", 0, "version"},
		{"Host: urlsession\nUrlsession-Api: 2\n", 0, "version"},
		{"Host: urlsession\nUrlsession-Api: 1.5\n", 0, "version"},
		{"Host: evil.example\nUrlsession-Api: 1\n", http.StatusForbidden, "host"},
		{"Host: localhost\nUrlsession-Api: 1\n", http.StatusForbidden, "host"},
		{"Host: urlsession\nOrigin: https://evil.example\n", http.StatusForbidden, "web page"},
		{"Host: urlsession\nOrigin: null\n", http.StatusForbidden, "web page"},
		{"Host: urlsession\nSec-Fetch-Site: cross-site\n", http.StatusForbidden, "web page"},
	} {
		status, body := k.ask("PUT /v1/sessions/x HTTP/1.1\n" + c.head + "Content-Type: application/json\nContent-Length: 2\n\n{}")
		switch {
		case c.want == http.StatusOK && status/100 != 2:
			t.Errorf("%q: %d %s", c.head, status, body)
		case c.want != http.StatusOK && (status/100 == 2 || c.want != 0 && status != c.want || !strings.Contains(body, c.say)):
			t.Errorf("%q: %d %s", c.head, status, body)
		case c.say == "version" && !strings.Contains(body, "-995"):
			t.Errorf("%q: the code is not -995: %s", c.head, body)
		}
	}
	sessions, err := k.daemon().Sessions(bounded(t))
	if err != nil || len(sessions) != 1 {
		t.Errorf("%v (%v)", sessions, err)
	}
}

// Another user cannot reach the daemon, by the folder's and the socket's mode; and where somebody has opened these, it is
// the connection's credentials that count.
func TestAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("to be another user takes root")
	}
	k := running(t)
	for path, want := range map[string]fs.FileMode{k.state: 0o700 | fs.ModeDir, k.socket(): 0o600 | fs.ModeSocket} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
	}
	for _, name := range []string{"urlsession.db", "urlsession.db.key"} {
		if info, err := os.Stat(filepath.Join(k.state, name)); err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	// The folders above are the test's.
	for dir := filepath.Dir(k.state); dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := k.asNobody(); !errors.Is(err, unix.EACCES) {
		t.Errorf("a stranger was answered %q (%v)", got, err)
	}
	if err := errors.Join(os.Chmod(k.state, 0o755), os.Chmod(k.socket(), 0o666)); err != nil {
		t.Fatal(err)
	}
	if got, err := k.asNobody(); len(got) > 0 {
		t.Errorf("a stranger was answered %q (%v)", got, err)
	}
	if status, body := k.ask("GET /v1/status HTTP/1.1\nHost: urlsession\n\n"); status != http.StatusOK {
		t.Errorf("the owner is answered %d %s", status, body)
	}
}

// TestAnotherUsersDaemon: a client tells nothing to a socket at its daemon's place that somebody else listens on.
func TestAnotherUsersDaemon(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("to be another user takes root")
	}
	state := t.TempDir()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	socket := os.NewFile(uintptr(fd), "socket")
	defer socket.Close()
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: filepath.Join(state, "daemon.sock")}); err != nil {
		t.Fatal(err)
	}
	listening := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: see asNobody
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); e != 0 {
			listening <- e
			return
		}
		listening <- unix.Listen(fd, 8) // whose peers are told of this user (unix(7))
	}()
	if err := <-listening; err != nil {
		t.Fatal(err)
	}
	l, err := net.FileListener(socket)
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan []byte, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			told <- nil
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		got, _ := io.ReadAll(conn)
		told <- got
	}()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err = urlsession.Daemon{State: state}.Status(ctx)
	if !errors.Is(err, urlsession.ErrNoPermission) {
		t.Errorf("it is asked: %v", err)
	}
	l.Close()
	if got := <-told; len(got) > 0 {
		t.Errorf("it was told %q", got)
	}
}

// asNobody asks the daemon as another user, and says what is answered. (Credentials are a thread's in Linux; this one ends
// with its goroutine.)
func (k *keeper) asNobody() (answer []byte, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); e != 0 {
			err = e
			return
		}
		var fd int
		if fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return
		}
		defer unix.Close(fd)
		for _, option := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
			if err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &unix.Timeval{Sec: int64(patience / time.Second)}); err != nil {
				return
			}
		}
		if err = unix.Connect(fd, &unix.SockaddrUnix{Name: k.socket()}); err != nil {
			return
		}
		if err = unix.Sendto(fd, []byte("GET /v1/status HTTP/1.1\r\nHost: urlsession\r\n\r\n"), unix.MSG_NOSIGNAL, nil); err != nil {
			return
		}
		b := make([]byte, 4*kib)
		var n int
		if n, err = unix.Read(fd, b); n > 0 {
			answer = b[:n]
		}
	}()
	<-done
	return answer, err
}

// No secret of a request stands readable in what the daemon keeps or says, or in what it tells of the task.
func TestSecretsAreSealed(t *testing.T) {
	t.Parallel()
	const secret = "S3CRET-b1c5f0"
	origin := hello(t)
	k := running(t)
	ctx := bounded(t)
	c := k.configuration("com.example.secrets")
	c.AdditionalHeaders = http.Header{"Authorization": {"Bearer " + secret}}
	s := k.session(c)
	r := urlsession.Get(strings.Replace(origin.URL, "http://", "http://user:"+secret+"@", 1) + "/f?token=" + secret)
	r.Header = http.Header{"Cookie": {"session=" + secret}, "Proxy-Authorization": {"Basic " + secret}}
	var told []byte
	for _, url := range []string{r.URL, strings.Replace(r.URL, "/f?", ":1/f?", 1)} { // the second one is malformed, or cannot connect
		r.URL = url
		task, err := s.DataTask(ctx, r)
		if err != nil {
			told = append(told, err.Error()...)
			continue
		}
		if _, err := task.Wait(ctx); err != nil {
			told = append(told, err.Error()...)
		}
	}
	waiting := r
	waiting.URL = "http://user:" + secret + "@127.0.0.1:1/?token=" + secret // where nobody listens
	task, err := s.DataTask(ctx, waiting)
	if err != nil {
		t.Fatal(err)
	}
	for ev, err := range task.Events(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := ev.(urlsession.Waiting); ok {
			break
		}
		if _, ok := ev.(urlsession.WillRetry); ok {
			break
		}
	}
	if err := task.Cancel(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := task.Wait(ctx); err != nil {
		told = append(told, err.Error()...)
	}
	for _, ev := range stored(ctx, t, s) {
		told = append(told, wire(t, ev)...)
	}
	if bytes.Contains(told, []byte(secret)) {
		t.Errorf("the secret was told: %s", told)
	}
	got := false
	for _, r := range origin.Requests() {
		got = got || r.Header.Get("Authorization") == "Bearer "+secret
	}
	if !got {
		t.Error("the origin was not given it")
	}
	look := func() {
		err := filepath.WalkDir(k.state, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			data, err := os.ReadFile(path)
			if bytes.Contains(data, []byte(secret)) {
				t.Errorf("the secret stands in %s", path)
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		if strings.Contains(k.said(), secret) {
			t.Error("the daemon said the secret")
		}
	}
	look()
	k.terminate()
	look()
}
