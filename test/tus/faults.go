package tus

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"
)

// Fault is what becomes of one request to tusd. The zero value is none.
type Fault struct {
	Status int // the answer, in place of tusd's; nothing of the content is read

	Cut         bool // the connection ends once After bytes of the content were read, which tusd keeps
	Stall       bool // nothing more is read then, until tusd gives the request up, as for another one
	After       int64
	LosesAnswer bool // tusd does all that it is asked for, and the connection ends in place of its answer
}

// Request is one that came.
type Request struct {
	Method   string
	Upload   string // its ID; empty: a creation, or OPTIONS
	Header   http.Header
	Length   int64 // of its content as announced
	Received int64 // bytes of it that were read
}

// Faults stand before tusd, as the middleware of Start. They are safe for concurrent use.
type Faults struct {
	next func(Request) Fault

	mu       sync.Mutex
	requests []*Request
	changed  chan struct{} // closed and renewed at each change
}

// NewFaults asks next, where it is not nil, about each request. It may be asked by several goroutines at once.
func NewFaults(next func(Request) Fault) *Faults {
	return &Faults{next: next, changed: make(chan struct{})}
}

// Requests are all that came, oldest first.
func (f *Faults) Requests() []Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]Request, len(f.requests))
	for i, r := range f.requests {
		list[i] = *r
	}
	return list
}

// Received is how many bytes of content were read of all requests.
func (f *Faults) Received() (n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.received()
}

func (f *Faults) received() (n int64) {
	for _, r := range f.requests {
		n += r.Received
	}
	return n
}

// WaitReceived returns when n bytes of content were read, or with ctx's error.
func (f *Faults) WaitReceived(ctx context.Context, n int64) error {
	for {
		f.mu.Lock()
		reached, changed := f.received() >= n, f.changed
		f.mu.Unlock()
		if reached {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (f *Faults) change(what func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	what()
	close(f.changed)
	f.changed = make(chan struct{})
}

// Wrap is the middleware.
func (f *Faults) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &Request{Method: r.Method, Upload: path.Base(r.URL.Path), Header: r.Header.Clone(), Length: r.ContentLength}
		if r.URL.Path == "/" {
			rec.Upload = ""
		}
		var fault Fault
		if f.next != nil {
			fault = f.next(*rec)
		}
		f.change(func() { f.requests = append(f.requests, rec) })
		if fault.Status != 0 {
			w.WriteHeader(fault.Status)
			return
		}
		x := &exchange{ResponseWriter: w, faults: f, fault: fault, record: rec, left: r.ContentLength, given: make(chan struct{})}
		if fault.Cut || fault.Stall {
			x.left = fault.After
		}
		r.Body = &content{r.Body, x}
		next.ServeHTTP(x, r)
	})
}

// exchange is a request as tusd has it, and its answer.
type exchange struct {
	http.ResponseWriter
	faults *Faults
	fault  Fault
	record *Request
	left   int64 // bytes to the fault; below 0: there is none to come

	once  sync.Once
	given chan struct{} // closed when tusd has given the request's content up
}

// Unwrap is for http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

func (x *exchange) WriteHeader(status int) {
	if status >= 200 && (x.fault.Cut || x.fault.LosesAnswer) {
		panic(http.ErrAbortHandler)
	}
	x.ResponseWriter.WriteHeader(status)
}

// content is a request's, up to its fault.
type content struct {
	io.ReadCloser
	x *exchange
}

func (c *content) Read(p []byte) (int, error) {
	x := c.x
	if x.fault.Cut || x.fault.Stall {
		if x.left == 0 && x.fault.Stall {
			<-x.given
		}
		if x.left == 0 {
			return 0, io.ErrUnexpectedEOF
		}
		p = p[:min(int64(len(p)), x.left)]
	}
	n, err := c.ReadCloser.Read(p)
	x.left -= int64(n)
	x.faults.change(func() { x.record.Received += int64(n) })
	return n, err
}

func (c *content) Close() error {
	c.x.once.Do(func() { close(c.x.given) })
	return c.ReadCloser.Close()
}

// Upload is what tusd has of one.
type Upload struct {
	ID           string
	Metadata     map[string]string
	Size, Offset int64
	Path         string // of the file with what has come
}

// Uploads are those that tusd has, by their IDs.
func (s *Server) Uploads() ([]Upload, error) {
	names, err := filepath.Glob(filepath.Join(s.dir, "*.info"))
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	list := make([]Upload, len(names))
	for i, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var info struct {
			ID       string
			MetaData map[string]string
			Size     int64
		}
		if err := json.Unmarshal(text, &info); err != nil {
			return nil, err
		}
		file := name[:len(name)-len(".info")]
		there, err := os.Stat(file)
		if err != nil {
			return nil, err
		}
		list[i] = Upload{ID: info.ID, Metadata: info.MetaData, Size: info.Size, Offset: there.Size(), Path: file}
	}
	return list, nil
}
