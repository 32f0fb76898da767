package transfer

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/partial"
	"github.com/urlsession/urlsession/internal/task"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

// Resumed downloads ask for the rest by a strong validator, count what was held, and fetch nothing twice.
func TestResume(t *testing.T) {
	long := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, c := range map[string]struct {
		res     Resource
		ifRange string
	}{
		"etag":          {Resource{ETag: `"v1"`}, `"v1"`},
		"etag and date": {Resource{ETag: `"v1"`, LastModified: long}, `"v1"`},
		"date":          {Resource{LastModified: long}, long.Format(http.TimeFormat)},
	} {
		t.Run(name, func(t *testing.T) {
			srv, a := newFixture(t)
			c.res.Content = file
			srv.Publish("/f", c.res)
			a = interrupt(t, srv, a, 100_000)
			wantNoFile(t, a)
			res, err := Run(t.Context(), a)
			wantFile(t, res, err, file)
			wantRanges(t, srv, "-, 100000- if "+c.ifRange)
			if srv.Sent("/f") != file.Size {
				t.Errorf("%d bytes were sent for a file of %d", srv.Sent("/f"), file.Size)
			}
			o := a.Observer.(*observer)
			if o.told() != "response 206" || o.received[0] != 100_000 || o.received[len(o.received)-1] != file.Size || o.expected != file.Size {
				t.Errorf("told %s, received %v of %d", o.told(), o.received, o.expected)
			}
		})
	}
}

// What cannot be told apart by a strong validator starts over.
func TestNoResumeByWeakValidator(t *testing.T) {
	long := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, res := range map[string]Resource{
		"none":              {},
		"weak etag":         {ETag: `W/"v1"`},
		"weak etag and old": {ETag: `W/"v1"`, LastModified: long},
		"malformed etag":    {ETag: `v1`, LastModified: long},
		"new date":          {LastModified: long, Date: long.Add(30 * time.Second)},
	} {
		t.Run(name, func(t *testing.T) {
			srv, a := newFixture(t)
			res.Content = file
			srv.Publish("/f", res)
			srv.Script("/f", Truncate(100_000))
			first, err := Run(t.Context(), a)
			wantCode(t, err, task.ConnectionLost)
			if first.ResumeData != nil {
				t.Error("resume data of what cannot be gone on from")
			}
			got, err := Run(t.Context(), again(a))
			wantFile(t, got, err, file)
			wantRanges(t, srv, "-, -")
		})
	}
}

// A digest of the user's lets a weak validator do.
func TestResumeByDigest(t *testing.T) {
	for name, res := range map[string]Resource{"none": {}, "weak": {ETag: `W/"v1"`}} {
		t.Run(name, func(t *testing.T) {
			srv, a := newFixture(t)
			res.Content = file
			srv.Publish("/f", res)
			a.Spec.Download.Digests = []string{fmt.Sprintf("sha-256=%x", file.SHA256())}
			a = interrupt(t, srv, a, 100_000)
			got, err := Run(t.Context(), a)
			wantFile(t, got, err, file)
			wantRanges(t, srv, "-, 100000-")
			if got.Digest != a.Spec.Download.Digests[0] {
				t.Errorf("digest %q", got.Digest)
			}
		})
	}
	t.Run("changed", func(t *testing.T) {
		srv, a := newFixture(t)
		srv.Publish("/f", Resource{Content: file})
		a.Spec.Download.Digests = []string{fmt.Sprintf("sha-256=%x", file.SHA256())}
		a = interrupt(t, srv, a, 100_000)
		srv.Publish("/f", Resource{Content: Body{Seed: 2, Size: file.Size}})
		_, err := Run(t.Context(), a)
		wantCode(t, err, task.DigestMismatch)
		wantNoFile(t, a)
	})
	t.Run("other weak etag", func(t *testing.T) {
		srv, a := newFixture(t)
		srv.Publish("/f", Resource{Content: file, ETag: `W/"v1"`})
		other := Body{Seed: 2, Size: file.Size}
		a.Spec.Download.Digests = []string{fmt.Sprintf("sha-256=%x", other.SHA256())}
		a = interrupt(t, srv, a, 100_000)
		srv.Publish("/f", Resource{Content: other, ETag: `W/"v2"`})
		got, err := Run(t.Context(), a)
		wantFile(t, got, err, other)
		wantRanges(t, srv, "-, 100000-, -")
	})
}

// A server that honestly sends less than it was asked for is asked again, as long as that brings something.
func TestShortRanges(t *testing.T) {
	srv, a := newFixture(t)
	a = interrupt(t, srv, a, 100_000)
	srv.Script("/f", Partial(100_000, 149_999), Partial(150_000, 150_000))
	res, err := Run(t.Context(), a)
	wantFile(t, res, err, file)
	wantRanges(t, srv, `-, 100000- if "v1", 150000- if "v1", 150001- if "v1"`)
	if told := a.Observer.(*observer).told(); told != "response 206" {
		t.Errorf("told %s", told)
	}
}

// The content changes between two ranges of one attempt: the file is the new one, and the Observer hears of it.
func TestChangedBetweenRanges(t *testing.T) {
	srv, a := newFixture(t)
	a = interrupt(t, srv, a, 100_000)
	changed := Body{Seed: 2, Size: file.Size}
	srv.Script("/f", Partial(100_000, 149_999), Changed(Resource{Content: changed, ETag: `"v2"`}))
	res, err := Run(t.Context(), a)
	wantFile(t, res, err, changed)
	if told := a.Observer.(*observer).told(); told != "response 206, response 200" {
		t.Errorf("told %s", told)
	}
}

// All bytes were held when the process ended: the version is still asked for.
func TestResumeOfWhatIsComplete(t *testing.T) {
	hold := func(t *testing.T, a *Attempt) {
		part := filepath.Join(filepath.Dir(a.Spec.Download.Path),
			partial.Name("file.bin", partial.Key(a.Spec.Request.URL, a.Spec.Download.Destination)))
		f, err := partial.Open(part)
		if err != nil {
			t.Fatal(err)
		}
		f.Begin(partial.Validator{ETag: `"v1"`}, file.Size)
		f.WriteAt(file.Bytes(), 0)
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	changed := Body{Seed: 2, Size: file.Size}
	for name, c := range map[string]struct {
		step   Step
		want   Body
		ranges string
	}{
		"unchanged":             {Honest(), file, `299999- if "v1"`},
		"416":                   {Unsatisfiable("bytes */300000"), file, `299999- if "v1"`},
		"416 without a length":  {Unsatisfiable(""), file, `299999- if "v1"`},
		"416 of another length": {Unsatisfiable("bytes */300001"), file, `299999- if "v1", -`},
		"changed":               {Changed(Resource{Content: changed, ETag: `"v2"`}), changed, `299999- if "v1"`},
	} {
		t.Run(name, func(t *testing.T) {
			srv, a := newFixture(t)
			hold(t, a)
			srv.Script("/f", c.step)
			res, err := Run(t.Context(), a)
			wantFile(t, res, err, c.want)
			wantRanges(t, srv, c.ranges)
		})
	}
}

func TestOtherMethodsAreNotResumed(t *testing.T) {
	srv, a := newFixture(t)
	a.Spec.Request.Method = "POST"
	srv.Script("/f", Truncate(100_000))
	res, err := Run(t.Context(), a)
	wantCode(t, err, task.ConnectionLost)
	if res.ResumeData != nil || len(list(t, filepath.Dir(a.Spec.Download.Path))) != 0 {
		t.Errorf("resume data %v, folder %v", res.ResumeData, list(t, filepath.Dir(a.Spec.Download.Path)))
	}
	res, err = Run(t.Context(), again(a))
	wantFile(t, res, err, file)
	wantRanges(t, srv, "-, -")
}

// A task made from resume data goes on; one whose part file does not match is refused, before anything is sent.
func TestResumeData(t *testing.T) {
	start := func(t *testing.T) (*Server, *Attempt, string) {
		srv, a := newFixture(t)
		srv.Script("/f", Truncate(100_000))
		res, err := Run(t.Context(), a)
		wantCode(t, err, task.ConnectionLost)
		if res.ResumeData == nil {
			t.Fatal("no resume data")
		}
		data, err := task.ParseResumeData(res.ResumeData.Encode())
		if err != nil {
			t.Fatal(err)
		}
		next := newDownload(t, a.RoundTripper, data.URL, data.Path)
		next.Spec.Download.Resume = data
		return srv, next, data.Part
	}
	t.Run("good", func(t *testing.T) {
		srv, a, _ := start(t)
		res, err := Run(t.Context(), a)
		wantFile(t, res, err, file)
		wantRanges(t, srv, `-, 100000- if "v1"`)
	})
	t.Run("changed on the server", func(t *testing.T) {
		srv, a, _ := start(t)
		changed := Body{Seed: 2, Size: file.Size}
		srv.Publish("/f", Resource{Content: changed, ETag: `"v2"`})
		res, err := Run(t.Context(), a)
		wantFile(t, res, err, changed)
	})
	t.Run("next attempt", func(t *testing.T) {
		srv, a, _ := start(t)
		srv.Script("/f", Truncate(50_000))
		_, err := Run(t.Context(), a)
		wantCode(t, err, task.ConnectionLost)
		res, err := Run(t.Context(), again(a))
		wantFile(t, res, err, file)
		wantRanges(t, srv, `-, 100000- if "v1", 150000- if "v1"`)
	})
	t.Run("next attempt of another version", func(t *testing.T) {
		srv, a, _ := start(t)
		changed := Body{Seed: 2, Size: file.Size}
		srv.Publish("/f", Resource{Content: changed, ETag: `"v2"`})
		srv.Script("/f", Truncate(50_000))
		_, err := Run(t.Context(), a)
		wantCode(t, err, task.ConnectionLost)
		res, err := Run(t.Context(), again(a))
		wantFile(t, res, err, changed)
		wantRanges(t, srv, `-, 100000- if "v1", 50000- if "v2"`)
	})
	for name, spoil := range map[string]func(t *testing.T, d *task.ResumeData, part string){
		"part gone":   func(t *testing.T, _ *task.ResumeData, part string) { remove(t, part) },
		"record gone": func(t *testing.T, _ *task.ResumeData, part string) { remove(t, part+".json") },
		"part cut":    func(t *testing.T, _ *task.ResumeData, part string) { write(t, part, "short") },
		"other etag":  func(t *testing.T, d *task.ResumeData, _ string) { d.ETag = `"v0"` },
		"other total": func(t *testing.T, d *task.ResumeData, _ string) { d.Total++ },
		"holds less":  func(t *testing.T, d *task.ResumeData, _ string) { d.Held[0][1]++ },
	} {
		t.Run(name, func(t *testing.T) {
			srv, a, part := start(t)
			spoil(t, a.Spec.Download.Resume, part)
			_, err := Run(t.Context(), a)
			wantCode(t, err, task.ResumeDataUnusable)
			if srv.Count("/f") != 1 {
				t.Error("it asked the server")
			}
		})
	}
}

// Resume data that name any other file leave it as it is.
func TestResumeDataOfAnotherFile(t *testing.T) {
	for _, name := range []string{"letter.txt", "other/f.0123abcd.part"} {
		srv, a := newFixture(t)
		folder := filepath.Dir(a.Spec.Download.Path)
		path := filepath.Join(folder, name)
		os.Mkdir(filepath.Join(folder, "other"), 0o755)
		write(t, path, "dear")
		a.Spec.Download.Resume = &task.ResumeData{Version: 1, URL: a.Spec.Request.URL, Path: a.Spec.Download.Path, Part: path, Total: -1}
		_, err := Run(t.Context(), a)
		wantCode(t, err, task.ResumeDataUnusable)
		if readFile(t, path) != "dear" || srv.Count("/f") != 0 {
			t.Errorf("%s: %q, %d requests", name, readFile(t, path), srv.Count("/f"))
		}
	}
}

// A server that names its files as a part file and its record are called decides nothing about a later download.
func TestPlantedPart(t *testing.T) {
	srv, a := newFixture(t)
	folder := t.TempDir()
	a.Spec.Download = &task.DownloadSpec{Destination: folder + "/", Path: folder, Folder: true}
	part := partial.Name("f", partial.Key(a.Spec.Request.URL, folder+"/"))
	evil := string(Body{Seed: 9, Size: 100_000}.Bytes())
	for name, content := range map[string]string{
		part:           evil,
		part + ".json": string(partial.Record{Validator: partial.Validator{ETag: `"v1"`}, Total: file.Size, Held: partial.Ranges{{0, 100_000}}}.Encode()),
	} {
		srv.Publish("/evil", Resource{Content: Bytes(content), Header: http.Header{"Content-Disposition": {`attachment; filename="` + name + `"`}}})
		plant := newDownload(t, a.RoundTripper, srv.URL+"/evil", "")
		plant.Spec.Download = &task.DownloadSpec{Destination: folder + "/", Path: folder, Folder: true}
		if _, err := Run(t.Context(), plant); err != nil {
			t.Fatal(err)
		}
	}
	res, err := Run(t.Context(), a)
	if err != nil || file.CheckFile(res.Path) != nil {
		t.Errorf("%v, %v", err, file.CheckFile(res.Path))
	}
	wantRanges(t, srv, "-")
}

// Positions beyond 32 bits; what is held is a hole, so that the disk needs none of it.
func TestResumeBeyond4GiB(t *testing.T) {
	srv, a := newFixture(t)
	const held = 5<<30 + 7
	big := Body{Seed: 1, Size: held + 100_000}
	srv.Publish("/f", Resource{Content: big, ETag: `"v1"`})
	folder, name := filepath.Split(a.Spec.Download.Path)
	part := filepath.Join(folder, partial.Name(name, partial.Key(a.Spec.Request.URL, a.Spec.Download.Destination)))
	write(t, part, "")
	if err := os.Truncate(part, held); err != nil {
		t.Skip("no sparse files here: ", err)
	}
	write(t, part+".json", string(partial.Record{Validator: partial.Validator{ETag: `"v1"`}, Total: big.Size, Held: partial.Ranges{{0, held}}}.Encode()))
	res, err := Run(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	wantRanges(t, srv, `5368709127- if "v1"`)
	f, err := os.Open(res.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, want := make([]byte, 100_000), make([]byte, 100_000)
	if _, err := f.ReadAt(got, held); err != nil {
		t.Fatal(err)
	}
	if _, err := big.ReadAt(want, held); err != nil || !bytes.Equal(got, want) {
		t.Error("the end is wrong")
	}
	if info, err := f.Stat(); err != nil || info.Size() != big.Size {
		t.Errorf("%v, %v", info, err)
	}
}

func TestDownloadResumesAcrossRedirect(t *testing.T) {
	srv, a := newFixture(t)
	srv.Always("/old", Redirect(302, "/f"))
	a.Spec.Request.URL = srv.URL + "/old"
	a = interrupt(t, srv, a, 100_000)
	res, err := Run(t.Context(), a)
	wantFile(t, res, err, file)
	wantRanges(t, srv, `-, 100000- if "v1"`)
}

// A server that answers no range as it must and sends a part where all is asked for: once more, then an error, and what
// is held stays.
func TestStartsOverOnce(t *testing.T) {
	srv, a := newFixture(t)
	a = interrupt(t, srv, a, 100_000)
	srv.Script("/f", WrongStart(1), Partial(100_000, file.Size-1))
	res, err := Run(t.Context(), a)
	wantCode(t, err, task.BadServerResponse)
	wantNoFile(t, a)
	wantRanges(t, srv, `-, 100000- if "v1", -`)
	for _, says := range []string{"206", "starts at byte 100001"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%v does not say %q", err, says)
		}
	}
	if res.ResumeData == nil || res.ResumeData.Held[0] != [2]int64{0, 100_000} {
		t.Errorf("resume data %+v", res.ResumeData)
	}
	res, err = Run(t.Context(), again(a))
	wantFile(t, res, err, file)
}

// A short body of every kind leaves resume data with the bytes that came.
func TestShortBodiesLeaveResumeData(t *testing.T) {
	for name, step := range map[string]Step{
		"length": Truncate(70_000), "chunks": All(Chunked(), Truncate(70_000)), "reset": All(Slow(100<<20), Truncate(70_000)),
		"no last chunk": NoLastChunk(), "promises more": LengthOff(1),
	} {
		srv, a := newFixture(t)
		srv.Script("/f", step)
		res, err := Run(t.Context(), a)
		wantCode(t, err, task.ConnectionLost)
		d := res.ResumeData
		if d == nil || d.Version != task.ResumeDataVersion || len(d.Held) != 1 || d.Held[0][0] != 0 || d.Held[0][1] < 70_000 {
			t.Errorf("%s: %+v", name, d)
		}
		res, err = Run(t.Context(), again(a))
		wantFile(t, res, err, file)
	}
}

// What a GET left is no part of the answer to a POST.
func TestOtherMethodDoesNotGoOn(t *testing.T) {
	srv, a := newFixture(t)
	a = interrupt(t, srv, a, 100_000)
	spec := *a.Spec
	spec.Request.Method = "POST"
	a.Spec = &spec
	res, err := Run(t.Context(), a)
	wantFile(t, res, err, file)
	wantRanges(t, srv, "-, -")
}

// A file that was coded on its way is not gone on with by a range of the file that is not, though both have one
// validator by the server's mistake.
func TestNoResumeOfWhatWasCodedOnItsWay(t *testing.T) {
	srv, a := newFixture(t)
	a = interrupt(t, srv, a, 100_000, Gzip(), Chunked())
	res, err := Run(t.Context(), a)
	wantFile(t, res, err, file)
	wantRanges(t, srv, "-, -")
}

// A part that goes on behind its range taints all that is held.
func TestTooLongPartIsForgotten(t *testing.T) {
	srv, a := newFixture(t)
	a = interrupt(t, srv, a, 100_000)
	srv.Script("/f", All(RangeBodyOff(10), Chunked()))
	res, err := Run(t.Context(), a)
	wantCode(t, err, task.BadServerResponse)
	if res.ResumeData != nil {
		t.Errorf("resume data %+v", res.ResumeData)
	}
	res, err = Run(t.Context(), again(a))
	wantFile(t, res, err, file)
	wantRanges(t, srv, `-, 100000- if "v1", -`)
}
