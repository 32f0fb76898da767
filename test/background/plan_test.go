package background

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/urlsession/urlsession"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// plan is what the app of the torture is to do; it is in a file, for each process that is the app.
type plan struct {
	State   string            // the daemon's folder
	URL     string            // the origin
	Paced   []string          // the origins that hold each connection back, one for each groupSize jobs
	Uploads []string          // where uploads by each of tortureProtocols go
	Parts   map[int]presigned // of the jobs that are uploads in parts
	Folder  string            // of downloads and of the files that are uploaded
	Log     string            // the app's: a line an event that it has dealt with
	Jobs    []job
}

// job is one task of the plan.
type job struct {
	Number int // its place in Jobs; the task has it as its metadata
	Kind   urlsession.Kind
	Seed   uint64
	Size   int64 // of the file, the upload or the data

	File    bool // an upload's body is a file, in place of bytes
	Apart   bool // an upload goes in parts, to presigned URLs
	Resumes int  // an upload goes by that one of tortureProtocols, counted from 1; 0: it is a plain PUT
	Batch   int  // downloads of one such number, unless it is 0, are made in one step
	Digest  bool // a download is verified by its digest
	Strong  bool // the origin says a strong ETag; else it says nothing, and each attempt starts over
	Spread  bool // a download comes over several connections: it is a paced origin's
}

const (
	kib = 1 << 10
	mib = 1 << 20
)

// groupSize is how many jobs have one of each kind that there always is.
const groupSize = 60

// newJobs is count jobs by a generator. Most are small, some are empty, one in sixty is of 64 MiB, two in sixty are large and
// come over several connections, one in sixty for each of tortureProtocols is an upload by that, and one goes in
// parts.
func newJobs(r *rand.Rand, count int) []job {
	jobs := make([]job, count)
	for i := range jobs {
		j := job{Number: i, Kind: urlsession.KindDownload, Seed: r.Uint64(), Strong: true}
		switch n := r.IntN(60); {
		case n < 2:
			j.Size = int64(n) // 0 and 1
		case n < 30:
			j.Size = r.Int64N(64 * kib)
		case n < 55:
			j.Size = r.Int64N(2 * mib)
		default:
			j.Size = r.Int64N(12 * mib)
		}
		switch r.IntN(5) {
		case 0:
			j.Kind, j.File = urlsession.KindUpload, r.IntN(2) == 0
		case 1:
			j.Kind = urlsession.KindData
		default:
			j.Digest = r.IntN(3) == 0
			if i%2 == 0 {
				j.Batch = 1 + i/20
			}
			j.Strong = j.Size > 2*mib || r.IntN(6) > 0
		}
		jobs[i] = j
	}
	for i := 0; i < count; i += groupSize { // whatever the generator says
		jobs[i] = job{Number: i, Kind: urlsession.KindDownload, Seed: r.Uint64(), Size: 64 * mib, Strong: true, Digest: true}
		for n := i + 1; n < min(i+3, count); n++ {
			jobs[n] = job{
				Number: n, Kind: urlsession.KindDownload, Seed: r.Uint64(), Size: 32*mib + r.Int64N(16*mib), Strong: true,
				Digest: n%2 == 0, Spread: true,
			}
		}
		for n := i + 3; n < min(i+3+len(tortureProtocols), count); n++ {
			jobs[n] = job{
				Number: n, Kind: urlsession.KindUpload, Seed: r.Uint64(), Size: 4*mib + r.Int64N(8*mib),
				File: r.IntN(2) == 0, Resumes: n - i - 2,
			}
		}
		if n := i + 3 + len(tortureProtocols); n < count {
			jobs[n] = job{
				Number: n, Kind: urlsession.KindUpload, Seed: r.Uint64(), Size: 6*mib + r.Int64N(8*mib), File: r.IntN(2) == 0, Apart: true,
			}
		}
	}
	return jobs
}

func (j job) body() urlsessiontest.Body { return urlsessiontest.Body{Seed: j.Seed, Size: j.Size} }

func (j job) path() string { return fmt.Sprintf("/%s/%d", j.Kind, j.Number) }

// resource is what the origin has for a path of the plan.
func (p *plan) resource(path string) (urlsessiontest.Resource, bool) {
	n, err := strconv.Atoi(path[strings.LastIndexByte(path, '/')+1:])
	if err != nil || n < 0 || n >= len(p.Jobs) || p.Jobs[n].path() != path {
		return urlsessiontest.Resource{}, false
	}
	j := p.Jobs[n]
	if j.Kind == urlsession.KindUpload {
		return urlsessiontest.Resource{}, true // PUT is 204
	}
	res := urlsessiontest.Resource{Content: j.body()}
	if j.Strong {
		res.ETag = strconv.Quote(path)
	}
	return res, true
}

// request is the job's. source is the file of an upload.
func (p *plan) request(j job) urlsession.Request {
	origin := p.URL
	if j.Spread {
		origin = p.Paced[j.Number/groupSize]
	}
	r := urlsession.Request{
		URL: origin + j.path(), Method: http.MethodGet, FailOnHTTPError: true,
		Metadata: map[string]string{"job": strconv.Itoa(j.Number)},
	}
	if j.Kind == urlsession.KindUpload {
		r.Method = http.MethodPut
		if r.Body = urlsession.File(p.source(j)); !j.File {
			r.Body = urlsession.Bytes(j.body().Bytes())
		}
		if j.Apart {
			at := p.Parts[j.Number]
			r.Method, r.URL, r.RateLimit = "", at.Complete, uploadRate
			r.Multipart = &urlsession.Multipart{Parts: at.Parts, PartSize: partSize, Abort: at.Abort}
		}
		if j.Resumes > 0 {
			metadata := r.Metadata
			r = j.protocol().request(p.Uploads[j.Resumes-1], j.key(), r.Body)
			r.Metadata, r.RateLimit = metadata, uploadRate
			r.RetryUnsafe = true // a POST that was killed before the server has named it
		}
	}
	if j.Digest {
		sum := j.body().SHA256()
		r.Digests = []string{fmt.Sprintf("sha-256=%x", sum)}
	}
	return r
}

func (p *plan) source(j job) string {
	return filepath.Join(p.Folder, fmt.Sprintf("source-%d", j.Number))
}

func (p *plan) destination(j job) string {
	return filepath.Join(p.Folder, fmt.Sprintf("file-%d", j.Number))
}

// writeSources writes the files that are uploaded.
func (p *plan) writeSources() error {
	for _, j := range p.Jobs {
		if !j.File {
			continue
		}
		f, err := os.Create(p.source(j))
		if err != nil {
			return err
		}
		if _, err := io.Copy(f, j.body().Reader()); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// jobOf is whose task it is, by its metadata.
func jobOf(st urlsession.Status) (int, error) { return strconv.Atoi(st.Metadata["job"]) }

// A line of the app's log is an event as it is on the wire, or where a loop over the events begins.
type line struct {
	Start    int    `json:"start,omitempty"` // 1: it does; then all else is zero
	Sequence uint64 `json:"sequence"`
	Task     uint64 `json:"taskIdentifier"`
	Name     string `json:"event"`
	Success  bool   `json:"success"`

	raw string
}

// readLog is what the apps have dealt with, each loop's in a slice of its own.
func readLog(path string) (runs [][]line, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for text := range bytes.Lines(data) {
		l := line{raw: string(bytes.TrimSpace(text))}
		if l.raw == "" || !bytes.HasSuffix(text, []byte("\n")) || json.Unmarshal(text, &l) != nil {
			continue // the last words of a killed one
		}
		if l.Start > 0 {
			runs = append(runs, nil)
		} else if len(runs) > 0 {
			runs[len(runs)-1] = append(runs[len(runs)-1], l)
		}
	}
	return runs, nil
}
