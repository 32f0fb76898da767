package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urlsession/urlsession/urlsessiontest"
)

// peer is a downloader that is to go on with what it has of a file when it is run again in the same folder.
type peer struct {
	name    string   // and its flags, as the table calls it
	command []string // the URL follows
}

// ourName is the peer that may not fail.
const ourName = "urlsession"

func peers() []peer {
	return []peer{
		{"aria2 -c", []string{"aria2c", "-c"}},
		{"curl -C - -O", []string{"curl", "-C", "-", "-O"}},
		{"wget2 -c", []string{"wget2", "-c"}},
		{ourName, []string{binary, "download"}},
	}
}

// resumption is what becomes of a server while a download is stopped.
type resumption struct {
	name   string
	change func(*urlsessiontest.Server)
	want   urlsessiontest.Body // what the file ought to be
}

const peerFileSize = 48 * mib

var (
	oldBody = urlsessiontest.Body{Seed: 1, Size: peerFileSize}
	newBody = urlsessiontest.Body{Seed: 2, Size: peerFileSize}
)

var resumptions = []resumption{
	{"content changed, same size, new ETag", func(srv *urlsessiontest.Server) {
		srv.Publish("/f", urlsessiontest.Resource{Content: newBody, ETag: `"v2"`})
		srv.Always("/f", urlsessiontest.Honest())
	}, newBody},
	{"server answers 200 to the Range", func(srv *urlsessiontest.Server) {
		srv.Always("/f", urlsessiontest.IgnoreRange())
	}, oldBody},
}

// TestPeers prints README's table of what others do when a download is stopped and resumed. It is a measurement of other
// programs, so that it runs only when it is asked for, and only our own row can fail it:
//
//	cd test && URLSESSION_PEERS=1 go test -run TestPeers -v .
func TestPeers(t *testing.T) {
	if os.Getenv("URLSESSION_PEERS") == "" {
		t.Skip("it measures aria2, curl and wget2: set URLSESSION_PEERS=1 to run it")
	}
	var table strings.Builder
	table.WriteString("|")
	for _, r := range resumptions {
		table.WriteString(" | " + r.name)
	}
	table.WriteString(" |\n| --- |" + strings.Repeat(" --- |", len(resumptions)) + "\n")
	for _, p := range peers() {
		if _, err := exec.LookPath(p.command[0]); err != nil {
			t.Logf("%s is missing: %v", p.name, err)
			continue
		}
		fmt.Fprintf(&table, "| %s", p.label(t))
		for _, r := range resumptions {
			outcome, whole := p.resumes(t, r)
			fmt.Fprintf(&table, " | %s", outcome)
			if p.name == ourName && !whole {
				t.Errorf("%s, %s: %s", p.name, r.name, outcome)
			}
		}
		table.WriteString(" |\n")
	}
	t.Logf("a download of 48 MiB, interrupted after about 24 MiB, then run again:\n%s", table.String())
}

var versionNumber = regexp.MustCompile(`[0-9]+(\.[0-9]+)+`)

// label is the peer's name, its version, and its flags.
func (p peer) label(t *testing.T) string {
	if p.name == ourName {
		return p.name
	}
	out, err := exec.CommandContext(t.Context(), p.command[0], "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	name, flags, _ := strings.Cut(p.name, " ")
	return fmt.Sprintf("%s %s `%s`", name, versionNumber.FindString(string(out)), flags)
}

// resumes interrupts the peer in the middle of a download, changes the server, runs the peer again, and says what it left,
// and whether that is the file that it ought to be and the peer said so.
func (p peer) resumes(t *testing.T, r resumption) (outcome string, whole bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	srv := urlsessiontest.NewServer()
	defer srv.Close()
	srv.Publish("/f", urlsessiontest.Resource{Content: oldBody, ETag: `"v1"`})
	srv.Always("/f", stopsAt(peerFileSize/2))

	dir := t.TempDir()
	first := p.run(ctx, dir, srv.URL+"/f")
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	if err := srv.WaitSent(ctx, "/f", peerFileSize/2); err != nil {
		t.Fatal(err)
	}
	if err := first.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // how it says that it was interrupted is its own affair

	r.change(srv)
	status := 0
	if err := p.run(ctx, dir, srv.URL+"/f").Run(); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok || ctx.Err() != nil {
			t.Fatalf("%s, %s: %v", p.name, r.name, err)
		}
		status = exit.ExitCode()
	}
	left := p.left(t, dir, r)
	return fmt.Sprintf("%s, exit %d", strings.Join(left, "; "), status), status == 0 && slices.Equal(left, []string{"the right file"})
}

func (p peer) run(ctx context.Context, dir, url string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.command[0], append(slices.Clone(p.command[1:]), url)...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir + "/.home"}
	return cmd
}

// left says what is in the folder, a file at a time; the programs' own notes are passed over.
func (p peer) left(t *testing.T, dir string, r resumption) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		switch filepath.Ext(e.Name()) {
		case ".aria2", ".json", ".home":
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		what := describe(content, r.want)
		if e.Name() != "f" {
			what += " under another name"
		}
		all = append(all, what)
	}
	return all
}

// describe says what the content is, of what it ought to be.
func describe(content []byte, want urlsessiontest.Body) string {
	held := 0 // of the old version, from the start
	for before := oldBody.Bytes(); held < min(len(content), len(before)) && content[held] == before[held]; held++ {
	}
	switch rest := content[held:]; {
	case want.Check(bytes.NewReader(content)) == nil:
		return "the right file"
	case len(rest) == 0:
		return "the partial file"
	case want == newBody && len(content) == peerFileSize && bytes.Equal(rest, newBody.Bytes()[held:]):
		return "**a mixed file**"
	case len(content) > peerFileSize:
		return "a file that is too long"
	case bytes.Count(rest, []byte{0}) == len(rest):
		return "the partial file"
	}
	return "another file"
}
