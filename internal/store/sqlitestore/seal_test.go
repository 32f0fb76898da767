package sqlitestore

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/urlsession/urlsession/internal/durable"
	"github.com/urlsession/urlsession/internal/task"
)

const marker = "qXsecretZ7"

// secretRecord has the marker wherever a record may have a secret.
func secretRecord() *task.Record {
	url := "https://user:" + marker + "@example.com/f?token=" + marker
	resume := &task.ResumeData{Version: 1, URL: url, Part: "/tmp/f.part", Total: -1,
		Header: http.Header{"Authorization": {"Bearer " + marker}}}
	left := *resume
	left.Upload = &task.UploadResume{Method: "POST", Path: "/tmp/f", Multipart: &task.Multipart{Parts: []string{url}, Abort: url},
		State: task.UploadState{Protocol: task.ResumableIETF, URL: "https://example.com/uploads/" + marker, Parts: []task.Part{{Number: 1, ETag: marker, URL: url}}}}
	return &task.Record{
		State: task.Completed,
		Spec: task.Spec{
			Kind: task.Download,
			Request: task.Request{Method: "GET", URL: url, Header: http.Header{
				"Authorization": {"Bearer " + marker}, "Cookie": {"a=" + marker}, "Proxy-Authorization": {"Basic " + marker},
				"X-Api-Key": {marker}, "Accept": {"*/*"},
			}},
			Download: &task.DownloadSpec{Path: "/tmp/f", Resume: resume, KeyURL: url},
			Upload: &task.UploadSpec{Multipart: &task.Multipart{Parts: []string{url}, PartSize: 1, Abort: url,
				Header: http.Header{"X-Amz-Key": {marker}}, Uploaded: []task.Part{{Number: 1, ETag: marker}}}},
		},
		URL: url + "&n=1#" + marker,
		Upload: &task.UploadState{Protocol: task.ResumableIETF, Version: 8, URL: "https://example.com/uploads/" + marker,
			Parts: []task.Part{{Number: 1, ETag: marker, URL: url}}},
		Response: &task.Response{URL: url, Status: 200, ContentLength: -1, Header: http.Header{
			"Set-Cookie": {"a=" + marker, "b=" + marker}, "Location": {url},
		}},
		ResumeData: &left,
		Answered: []task.Answered{{
			Challenge: task.Challenge{Space: task.ProtectionSpace{Scheme: "https", Host: "example.com", Port: 443, Realm: "door", Method: "Basic"}, User: "user"},
			Answer: task.Answer{Disposition: task.UseCredential,
				Credential: &task.Credential{User: "user", Password: marker, Token: marker, Persistence: "session"}},
		}},
	}
}

// grep fails if a file of the folder, but for the key, holds the marker, and returns how many bytes it has read.
func grep(t *testing.T, dir string) (n int) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		must(t, err)
		if bytes.Contains(data, []byte(marker)) {
			t.Errorf("%s holds a secret", e.Name())
		}
		n += len(data)
	}
	return n
}

func TestNoSecretOnDisk(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "db")
	db := openDB(t, path)
	must(t, db.CreateSession(t.Context(), "s", []byte("first "+marker)))
	must(t, db.PutConfiguration(t.Context(), "s", []byte(`{"proxy":"`+marker+`"}`)))
	s := db.Session("s")
	rec, given := secretRecord(), secretRecord()
	must(t, s.Create(t.Context(), rec))
	_, err := s.Save(t.Context(), rec, task.SessionCompleted{Success: true})
	must(t, err)
	for _, suffix := range []string{"", "-wal", "-shm", ".key"} {
		info, err := os.Stat(path + suffix)
		must(t, err)
		if info.Mode() != 0o600 {
			t.Errorf("%s has mode %v", info.Name(), info.Mode())
		}
	}
	if grep(t, dir) < 8<<10 {
		t.Error("there was nothing to search")
	}
	given.ID, given.Version = rec.ID, rec.Version
	if !reflect.DeepEqual(rec, given) {
		t.Errorf("the caller's record was changed: %+v", rec)
	}
	must(t, db.Close())
	grep(t, dir)
	raw, err := os.ReadFile(path)
	must(t, err)
	for _, seen := range []string{"https://example.com/f?" + task.Redacted, "/tmp/f.part"} {
		if !bytes.Contains(raw, []byte(seen)) {
			t.Errorf("%q, which is no secret, is not in the database: the search would find nothing", seen)
		}
	}

	db = openDB(t, path)
	got, err := db.Session("s").Load(t.Context(), rec.ID)
	must(t, err)
	if a, b := asJSON(t, got), asJSON(t, rec); a != b {
		t.Errorf("stored\n%s\nloaded\n%s", b, a)
	}
	configuration, err := db.Configuration(t.Context(), "s")
	if err != nil || string(configuration) != `{"proxy":"`+marker+`"}` {
		t.Errorf("configuration %q, %v", configuration, err)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	must(t, err)
	return string(b)
}

// edit changes a closed database behind the store's back.
func edit(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	must(t, err)
	defer db.Close()
	for _, s := range statements {
		_, err := db.Exec(s)
		must(t, err)
	}
}

// A sealed value opens only where it was put, unchanged.
func TestSealedValuesCannotBeMoved(t *testing.T) {
	for name, move := range map[string]string{
		"to another task":         "UPDATE tasks SET sealed = (SELECT sealed FROM tasks WHERE id = 1 AND session = 1) WHERE id = 2 AND session = 1",
		"to another session":      "UPDATE tasks SET sealed = (SELECT sealed FROM tasks WHERE id = 2 AND session = 2) WHERE id = 2 AND session = 1",
		"from a configuration":    "UPDATE tasks SET sealed = (SELECT configuration FROM sessions WHERE id = 1) WHERE id = 2 AND session = 1",
		"changed in its last bit": "UPDATE tasks SET sealed = unhex(substr(hex(sealed), 1, 2*length(sealed)-2) || CASE substr(hex(sealed), -2) WHEN '00' THEN '01' ELSE '00' END) WHERE id = 2 AND session = 1",
		"cut":                     "UPDATE tasks SET sealed = substr(sealed, 1, 5) WHERE id = 2 AND session = 1",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "db")
			db := openDB(t, path)
			for _, id := range []string{"a", "b"} {
				must(t, db.CreateSession(t.Context(), id, []byte(marker)))
				must(t, db.Session(id).Create(t.Context(), secretRecord(), secretRecord()))
			}
			must(t, db.Close())
			edit(t, path, move)
			db = openDB(t, path)
			if _, err := db.Session("a").Load(t.Context(), 2); !errors.Is(err, ErrDamaged) {
				t.Errorf("got %v, want ErrDamaged", err)
			}
			if _, err := db.Session("a").Load(t.Context(), 1); err != nil {
				t.Errorf("the other task: %v", err)
			}
		})
	}
}

func TestKeyFile(t *testing.T) {
	newKeyed := func(t *testing.T) (path string) {
		path = filepath.Join(t.TempDir(), "db")
		db := openDB(t, path)
		must(t, db.CreateSession(t.Context(), "s", []byte(marker)))
		must(t, db.Close())
		for _, p := range []string{path, path + ".key"} {
			info, err := os.Stat(p)
			must(t, err)
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v", p, info.Mode())
			}
		}
		return path
	}
	other := filepath.Join(t.TempDir(), "other")
	must(t, openDB(t, other).Close())

	for name, c := range map[string]struct {
		spoil func(key string) error
		says  string
	}{
		"lost":                {os.Remove, "is missing: restore it"},
		"of another database": {func(key string) error { return errors.Join(os.Remove(key), os.Link(other+".key", key)) }, "key of another database"},
		"readable by others":  {func(key string) error { return os.Chmod(key, 0o640) }, "0640"},
		"cut":                 {func(key string) error { return os.Truncate(key, 20) }, "holds no key"},
		"a symbolic link":     {func(key string) error { return errors.Join(os.Rename(key, key+"2"), os.Symlink(key+"2", key)) }, "symbolic links"},
		"a folder":            {func(key string) error { return errors.Join(os.Remove(key), os.Mkdir(key, 0o700)) }, "no regular file"},
		"of another user": {func(key string) error {
			if os.Geteuid() != 0 {
				return errors.ErrUnsupported
			}
			return os.Chown(key, 4711, -1)
		}, "belongs to user 4711"},
	} {
		t.Run(name, func(t *testing.T) {
			path := newKeyed(t)
			if err := c.spoil(path + ".key"); errors.Is(err, errors.ErrUnsupported) {
				t.Skip("only root can give a file away")
			} else {
				must(t, err)
			}
			before := folder(t, filepath.Dir(path))
			_, err := Open(t.Context(), path)
			if !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want ErrKey that says %q", err, c.says)
			}
			if after := folder(t, filepath.Dir(path)); !reflect.DeepEqual(before, after) {
				t.Error("the folder was changed")
			}
		})
	}
}

// folder is what the files in a folder hold, but for SQLite's shared memory and an empty -wal file.
func folder(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	files := map[string]string{}
	for _, e := range entries {
		if e.IsDir() || strings.HasSuffix(e.Name(), "-shm") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		must(t, err)
		if len(data) > 0 {
			files[e.Name()] = string(data)
		}
	}
	return files
}

func TestOneProcessHasIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := openDB(t, path)
	if _, err := Open(t.Context(), path); !errors.Is(err, durable.ErrLocked) {
		t.Fatalf("a second Open: %v", err)
	}
	must(t, db.CreateSession(t.Context(), "s", nil)) // the first works on
	must(t, db.Close())
	openDB(t, path)
}

func FuzzSecrets(f *testing.F) {
	f.Add("https://u:p@example.com/a?b=c#d", "Authorization", "x")
	f.Add("http://example.com/", "", "")
	f.Add("https://example.com:443/%zz?q", "A", "\x00\xff")
	f.Add("::not a url?q@", "B", "y")
	f.Fuzz(func(t *testing.T, url, name, value string) {
		rec := task.Record{URL: url, Spec: task.Spec{Request: task.Request{URL: url}},
			Response: &task.Response{URL: url}, ResumeData: &task.ResumeData{URL: url}}
		if name != "" {
			rec.Spec.Request.Header = http.Header{name: {value}}
		}
		open := rec
		s := conceal(&open)
		if rec.Response.URL != url || rec.ResumeData.URL != url {
			t.Fatal("conceal changed what is shared")
		}
		if open.Spec.Request.Header != nil {
			t.Fatal("a header stands in the open")
		}
		response, data := *open.Response, *open.ResumeData // as JSON would make them
		open.Response, open.ResumeData = &response, &data
		reveal(&open, s)
		if !reflect.DeepEqual(open, rec) {
			t.Fatalf("%+v became %+v", rec, open)
		}
	})
}
