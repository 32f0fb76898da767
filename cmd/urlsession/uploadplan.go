package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"github.com/urlsession/urlsession"
)

// uploadPlan is what --multipart reads: where the parts of a file go. Its URLs are secrets, which do not belong in arguments.
type uploadPlan struct {
	Parts    []string              `json:"parts"`
	PartSize int64                 `json:"partSize"` // bytes; 0: equal parts
	Header   map[string]planValues `json:"header"`   // of each part's request
	Complete string                `json:"complete"` // empty: somebody else completes the upload
	Abort    string                `json:"abort"`
	uploadedParts
}

// uploadedParts are parts that a server has: of a plan, and what is printed of an upload.
type uploadedParts struct {
	Uploaded []uploadedPart `json:"uploaded"`
}

type uploadedPart struct {
	Number int    `json:"number"`
	ETag   string `json:"etag"`
}

func uploadedOf(parts []urlsession.UploadedPart) []uploadedPart {
	all := make([]uploadedPart, len(parts))
	for i, p := range parts {
		all[i] = uploadedPart(p)
	}
	return all
}

// planValues are a header field's: a text, or a list of them.
type planValues []string

func (v *planValues) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*v = planValues{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(v))
}

// maxPlan is the most bytes of a plan.
const maxPlan = 64 << 20

// readPlan reads a plan from a file, or from in for "-". A field that it does not know is an error.
func readPlan(name string, in io.Reader) (p uploadPlan, err error) {
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return p, usagef("--multipart: %w", err)
		}
		defer file.Close()
		in = file
	}
	d := json.NewDecoder(io.LimitReader(in, maxPlan))
	d.DisallowUnknownFields()
	if err = d.Decode(&p); err == nil {
		if _, err = d.Token(); err == io.EOF {
			return p, nil
		}
		err = errors.New("something follows it")
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("it is empty")
	}
	return p, usagef("--multipart %s: it is no plan as urlsession upload --help shows: %w", oneLine(name), err)
}

// partsJob is the upload of --multipart PLAN FILE [URL]. onlyCompletes says that the command line has flags that are of no use
// without a completion.
func (f *uploadFlags) partsJob(args []string, onlyCompletes bool, std stdio) ([]job, error) {
	if len(args) != 1 && len(args) != 2 {
		return nil, usagef("with --multipart an upload takes one FILE, and the URL that completes it where PLAN has none")
	}
	file := args[0]
	if err := f.checksum.check(true, ""); err != nil {
		return nil, err
	}
	switch {
	case file == "-" && f.session == "":
		return nil, usagef("standard input is read once, and parts are sent side by side: give a FILE, or --session, which copies it first")
	case f.plan == "-" && (file == "-" || slices.Contains(f.headers, "@-")), file == "-" && slices.Contains(f.headers, "@-"):
		return nil, usagef("standard input is read for one of --multipart, FILE and -H alone")
	}
	if info, err := os.Stat(file); f.session == "" && err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return nil, usagef("%s is no regular file: it is read once, and parts are sent side by side; give a FILE, or --session, which copies it first", oneLine(file))
	}
	plan, err := readPlan(f.plan, std.in)
	if err != nil {
		return nil, err
	}
	target := plan.Complete
	if len(args) == 2 {
		if target != "" {
			return nil, usagef("the plan says where the upload is completed, and so does %s: give one of them", redact(args[1]))
		}
		target = args[1]
	}
	if target == "" && onlyCompletes {
		return nil, usagef("-H and --user are of the request that completes the upload, and there is none: the header of the parts stands in the plan")
	}

	body := urlsession.Stream(std.in, -1, nil)
	if file != "-" {
		if body, err = fileBody(file); err != nil {
			return nil, err
		}
	}
	request := urlsession.Post(target, body)
	request.Multipart = plan.multipart()
	finish := f.parts
	if target != "" {
		if finish, err = f.finisher(target, std); err != nil {
			return nil, err
		}
	}
	if err := finish(&request); err != nil {
		return nil, err
	}
	j := job{item: item{url: target, name: filepath.Base(file)}, upload: &request}
	if target == "" {
		j.url = plan.first()
	}
	j.ended = func(ctx context.Context, t *urlsession.Task, failure error) error {
		return printParts(ctx, std.out, t, target != "", failure)
	}
	return []job{j}, nil
}

// parts is what the flags say of a request without a completion, whose header would be that one's.
func (f *uploadFlags) parts(r *urlsession.Request) error {
	f.decorate(r, http.Header{})
	f.checksum.decorate(r)
	r.Header = nil
	return nil
}

// multipart is the plan in the words of a request. The parts' requests have the command's User-Agent.
func (p *uploadPlan) multipart() *urlsession.Multipart {
	m := &urlsession.Multipart{Parts: p.Parts, PartSize: p.PartSize, Header: http.Header{}, Abort: p.Abort}
	for name, values := range p.Header {
		m.Header[http.CanonicalHeaderKey(name)] = values
	}
	if _, own := m.Header["User-Agent"]; !own {
		m.Header.Set("User-Agent", userAgent())
	}
	for _, part := range p.Uploaded {
		m.Uploaded = append(m.Uploaded, urlsession.UploadedPart(part))
	}
	return m
}

// first is the URL of part 1.
func (p *uploadPlan) first() string {
	if len(p.Parts) == 0 {
		return ""
	}
	return p.Parts[0]
}

// printParts prints the parts that the server has of an upload that has ended: for who completes it, or, where it has failed, for
// the next plan. It returns how the upload ended in all.
func printParts(ctx context.Context, out io.Writer, t *urlsession.Task, completes bool, failure error) error {
	if failure == nil && completes {
		return nil
	}
	status, err := t.Status(ctx)
	if err != nil || failure != nil && len(status.UploadedParts) == 0 {
		return errors.Join(failure, err)
	}
	if err := writeError(writeJSON(out, uploadedParts{uploadedOf(status.UploadedParts)})); failure == nil {
		return err
	}
	return failure
}
