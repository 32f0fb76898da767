package urlsession

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

func mustOpen(t *testing.T, b Body) openedBody {
	t.Helper()
	o, err := b.open()
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBodiesInMemory(t *testing.T) {
	for name, c := range map[string]struct {
		body          Body
		content, kind string
	}{
		"bytes":       {Bytes([]byte("abc")), "abc", ""},
		"empty bytes": {Bytes(nil), "", ""},
		"text":        {Text("né"), "né", "text/plain; charset=utf-8"},
		"json":        {JSON(map[string]int{"a": 1}), `{"a":1}`, "application/json"},
	} {
		for range 2 { // a Body serves many requests
			o := mustOpen(t, c.body)
			got, err := io.ReadAll(o.reader)
			if err != nil || string(got) != c.content || o.spec.Size != int64(len(c.content)) || c.body.contentType != c.kind {
				t.Errorf("%s: %q (%d bytes, %q), %v", name, got, o.spec.Size, c.body.contentType, err)
			}
			if _, ok := o.reader.(io.Seeker); !ok {
				t.Errorf("%s cannot be sent again", name)
			}
		}
	}
}

func TestFileBodies(t *testing.T) {
	path := write(t, "f", "content")
	o := mustOpen(t, File(path))
	if o.reader != nil || o.spec.Path != path || o.spec.Size != 7 || o.spec.Source == nil || o.spec.Source.Size != 7 || o.spec.Source.Inode == 0 {
		t.Errorf("%+v", o)
	}
	t.Chdir(filepath.Dir(path))
	if o := mustOpen(t, File("f")); !filepath.IsAbs(o.spec.Path) {
		t.Errorf("the path %q is not absolute", o.spec.Path)
	}

	locked := write(t, "locked", "x")
	if err := os.Chmod(locked, 0); err != nil {
		t.Fatal(err)
	}
	refused := map[string]Code{
		"":                       ErrFileDoesNotExist,
		path + "-":               ErrFileDoesNotExist,
		filepath.Dir(path):       ErrFileIsDirectory,
		filepath.Join(path, "x"): ErrCannotOpenFile,
		"/dev/null":              ErrCannotOpenFile,
	}
	if os.Geteuid() != 0 { // root reads all
		refused[locked] = ErrNoPermission
	}
	for path, code := range refused {
		for _, b := range []Body{File(path), Form(FileField("f", path))} {
			if _, err := b.open(); !errors.Is(err, code) || path != "" && !strings.Contains(err.Error(), path) {
				t.Errorf("%q: %v, want %d and the path", path, err, code)
			}
		}
	}
}

func TestStreamsRewindAsTheyCan(t *testing.T) {
	rewind := func(o openedBody) (string, error) {
		r, err := o.reader.(interface{ Rewind() (io.Reader, error) }).Rewind()
		if err != nil {
			return "", err
		}
		b, err := io.ReadAll(r)
		return string(b), err
	}

	seeker := strings.NewReader("--abc")
	seeker.Seek(2, io.SeekStart)
	o := mustOpen(t, Stream(seeker, 3, nil))
	io.ReadAll(o.reader)
	if got, err := rewind(o); got != "abc" || err != nil {
		t.Errorf("a seeker goes back to %q, %v; want to where it stood", got, err)
	}

	pipe, w, err := os.Pipe() // an io.Seeker that cannot seek
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	b := Stream(pipe, -1, nil)
	o = mustOpen(t, b)
	if _, err := rewind(o); !errors.Is(err, task.BodyStreamExhausted) {
		t.Errorf("a pipe: %v", err)
	}
	if _, err := b.open(); !errors.Is(err, ErrBodyStreamExhausted) {
		t.Errorf("a pipe for a second task: %v", err)
	}
	if err := o.reader.(io.Closer).Close(); err != nil {
		t.Error(err)
	}
	if _, err := pipe.Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the pipe was not closed: %v", err)
	}

	b = Stream(strings.NewReader("first"), 5, func() (io.Reader, error) { return strings.NewReader("again"), nil })
	o = mustOpen(t, b)
	if got, _ := io.ReadAll(o.reader); string(got) != "first" {
		t.Errorf("%q", got)
	}
	if got, err := rewind(o); got != "again" || err != nil {
		t.Errorf("rewind: %q, %v", got, err)
	}
	if got, _ := io.ReadAll(mustOpen(t, b).reader); string(got) != "again" {
		t.Errorf("a second task reads %q, want the rewound body", got)
	}
	b = Stream(strings.NewReader(""), 0, func() (io.Reader, error) { return nil, errors.New("gone") })
	mustOpen(t, b)
	if _, err := b.open(); !errors.Is(err, ErrBodyStreamExhausted) || !strings.Contains(err.Error(), "gone") {
		t.Errorf("a rewind that fails: %v", err)
	}
}

func TestFormsAreReadBackAsTheyWereMade(t *testing.T) {
	path := write(t, "a \"b\".png", strings.Repeat("pixel", 20_000))
	const awkward = "a\"b\r\nc"
	b := Form(
		Field("name", "värde\r\n--x"), Field(awkward, ""),
		FileField("file", path), DataField("data", "d.bin", "", []byte{0, 1, 2}), DataField("typed", "d", "x/y", nil),
	)
	_, params, err := mime.ParseMediaType(b.contentType)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		o := mustOpen(t, b)
		first, err := io.ReadAll(iotest.OneByteReader(o.reader))
		if err != nil || int64(len(first)) != o.spec.Size {
			t.Fatalf("%d bytes, %v; the form said %d", len(first), err, o.spec.Size)
		}
		again, err := o.reader.(*form).Rewind()
		if err != nil {
			t.Fatal(err)
		}
		if second, err := io.ReadAll(again); err != nil || !bytes.Equal(first, second) {
			t.Fatalf("rewound it is another form (%v)", err)
		}
		f, err := multipart.NewReader(bytes.NewReader(first), params["boundary"]).ReadForm(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Value["name"]; len(got) != 1 || got[0] != "värde\r\n--x" {
			t.Errorf("name is %q", got)
		}
		if _, ok := f.Value["a%22b%0D%0Ac"]; !ok {
			t.Errorf("an awkward name became one of %q", f.Value)
		}
		for name, want := range map[string]struct{ file, kind, content string }{
			"file":  {"a %22b%22.png", "image/png", strings.Repeat("pixel", 20_000)},
			"data":  {"d.bin", "application/octet-stream", "\x00\x01\x02"},
			"typed": {"d", "x/y", ""},
		} {
			h := f.File[name][0]
			file, err := h.Open()
			if err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(file)
			file.Close()
			if h.Filename != want.file || h.Header.Get("Content-Type") != want.kind || string(got) != want.content {
				t.Errorf("%s: %q, %q, %d bytes", name, h.Filename, h.Header.Get("Content-Type"), len(got))
			}
		}
	}
	if _, err := Form(DataField("d", "d", "x\r\nEvil: 1", nil)).open(); err == nil {
		t.Error("a content type with a line break passes")
	}
}

func TestFormsNoticeThatAFileChanged(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"gone":      os.Remove,
		"longer":    func(p string) error { return os.WriteFile(p, make([]byte, 200_000), 0o666) },
		"shorter":   func(p string) error { return os.Truncate(p, 1) },
		"rewritten": func(p string) error { return os.Chtimes(p, time.Time{}, time.Now().Add(time.Hour)) },
		"replaced": func(p string) error {
			if err := os.WriteFile(p+".new", make([]byte, 100_000), 0o666); err != nil {
				return err
			}
			return os.Rename(p+".new", p)
		},
	} {
		t.Run("before/"+name, func(t *testing.T) {
			path := write(t, "f", string(make([]byte, 100_000)))
			o := mustOpen(t, Form(FileField("f", path)))
			if err := change(path); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(o.reader); !errors.Is(err, task.SourceChanged) {
				t.Errorf("%v, want SourceChanged", err)
			}
		})
		t.Run("meanwhile/"+name, func(t *testing.T) {
			path := write(t, "f", string(make([]byte, 100_000)))
			o := mustOpen(t, Form(FileField("f", path)))
			defer o.reader.(io.Closer).Close()
			if _, err := io.ReadFull(o.reader, make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			if err := change(path); err != nil {
				t.Fatal(err)
			}
			_, err := io.ReadAll(o.reader)
			if unlinked := name == "gone" || name == "replaced"; unlinked && err != nil || !unlinked && !errors.Is(err, task.SourceChanged) {
				t.Errorf("%v", err) // what is open is still the file that was promised
			}
		})
	}
}
