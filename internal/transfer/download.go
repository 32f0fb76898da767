package transfer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/urlsession/urlsession/internal/httpcache"
	"github.com/urlsession/urlsession/internal/partial"
	"github.com/urlsession/urlsession/internal/task"
)

// A download is an attempt that makes a file.
type download struct {
	*run
	to     *destination
	part   *partial.File
	digest verifier
	gather gatherer
	body   *requestBody // of a request other than GET; nil: none

	useless string // why the server's answer to a range was discarded
	alone   bool   // no further connections are tried
	told    bool   // the Observer knows a response whose body is, or goes on in, the part file
	ended   bool   // the part file is no more: it has its final name, or was set aside
	foreign bool   // what is in the part file can never be gone on from: it answers no GET, or is not the file
}

// download runs the attempt of a download task. It has no use for a cache: its file is what it keeps, and the ranges that it
// asks for are the server's to answer.
func (r *run) download(ctx context.Context) error {
	ctx = httpcache.WithoutCache(ctx)
	d := &download{run: r}
	if done, err := d.committed(); done || err != nil {
		return err
	}
	if err := d.open(); err != nil {
		return err
	}
	complete := false
	defer func() {
		if !complete { // an error, or what it calls has panicked: the part file must not stay locked
			d.abandon()
		}
	}()
	var err error
	if d.body, err = d.openBody(ctx); err != nil {
		return err
	}
	defer d.body.close()
	err = d.fetch(ctx)
	complete = err == nil
	return err
}

// open checks what can be checked before anything is sent, and locks the part file.
func (d *download) open() (err error) {
	for _, name := range []string{"Range", "If-Range"} {
		if d.Spec.Request.Header.Get(name) != "" {
			return d.fail(task.BadURL, 0, fmt.Errorf(
				"the request has a header %s, and a download asks for ranges by itself; leave it out, or use a data task", name))
		}
	}
	if d.to, err = newDestination(d.Attempt); err != nil {
		return err
	}
	for _, s := range d.to.spec.Digests {
		e, err := parseDigest(s)
		if err != nil {
			return d.fail(task.DigestMismatch, 0, err)
		}
		d.digest.want(e)
	}
	if err := d.to.check(); err != nil {
		return err
	}
	if d.to.name != "" {
		err = d.readDigestFile()
	} else if path := d.to.spec.DigestFile; path != "" {
		if _, err := os.Stat(path); err != nil {
			return fileError("read checksum file", path, err, task.CannotOpenFile)
		}
	}
	if err != nil {
		return err
	}
	d.part, err = d.to.open(d.Number)
	return err
}

// readDigestFile takes what the checksum file says of the file's name, which is known by now.
func (d *download) readDigestFile() error {
	path := d.to.spec.DigestFile
	if path == "" {
		return nil
	}
	list, err := readChecksumFile(path, d.to.name)
	if _, ok := errors.AsType[*noChecksum](err); ok {
		return d.fail(task.DigestMismatch, 0, err)
	}
	if err != nil {
		return fileError("read checksum file", path, err, task.CannotOpenFile)
	}
	d.digest.want(list...)
	return nil
}

// fetch asks until the file is complete, and gives it its name.
func (d *download) fetch(ctx context.Context) error {
	whole := d.Spec.Request.Method != http.MethodGet // only a GET is gone on with
	for {
		h := d.held()
		var q question
		if !whole {
			q = h.ask()
		}
		if q.from > 0 {
			// The user's digests are caught up with before the server is kept waiting.
			if err := d.hash(ctx, q.from); err != nil {
				return err
			}
		}
		resp, err := d.request(ctx, q)
		if err != nil {
			return err
		}
		done, err := d.take(ctx, q, h, resp)
		switch {
		case err == errStartOver:
			whole = true
		case err != nil:
			return err
		case done:
			return d.finish(ctx, resp)
		}
	}
}

// errStartOver says that a response was of no use and all is to be asked for without Range. It comes once at most,
// since what answers such a request is taken or refused.
var errStartOver = errors.New("start over")

func (d *download) request(ctx context.Context, q question) (*http.Response, error) {
	req, err := d.newRequest(ctx)
	if err != nil {
		return nil, err
	}
	q.set(req.Header)
	if req.Header.Get("Accept-Encoding") == "" {
		req.Header.Set("Accept-Encoding", "identity")
	}
	return d.exchange(d.RoundTripper, req, d.body)
}

// take makes of a response to q what judge says. done is true when the file is complete.
func (d *download) take(ctx context.Context, q question, h held, resp *http.Response) (done bool, err error) {
	defer resp.Body.Close()
	verdict, span, why := judge(q, h, resp)
	switch verdict {
	case startOver:
		d.useless = why
		return false, errStartOver
	case refuse:
		d.result.Response = responseOf(resp)
		if d.useless != "" {
			why += "; before, asked for the rest: " + d.useless
		}
		return false, d.fail(task.BadServerResponse, resp.StatusCode, errors.New(why))
	case allHeld:
		d.result.Response = responseOf(resp)
		if err := d.named(resp); err != nil {
			return false, err
		}
		return true, nil
	case takeRange:
		return d.takeRange(ctx, span, resp)
	}
	return d.takeWhole(ctx, resp)
}

// takeWhole makes a response's body the file, from byte 0.
func (d *download) takeWhole(ctx context.Context, resp *http.Response) (done bool, err error) {
	if err := d.tell(ctx, resp); err != nil {
		return false, err
	}
	if err := d.named(resp); err != nil {
		return false, err
	}
	total := contentLength(resp)
	var validator partial.Validator
	d.foreign = resp.StatusCode != http.StatusOK || d.Spec.Request.Method != http.MethodGet
	// A file that is coded on its way, of a length that nobody knows beforehand, may have the validator of the file that is
	// not: it must not be gone on with by ranges of that one.
	if !d.foreign && (coding(resp.Header) == "" || total >= 0) {
		validator = partial.FromHeader(resp.Header)
	}
	if err := d.part.Begin(validator, total); err != nil {
		return false, fileError("empty part file", d.to.part, err, task.CannotWriteFile)
	}
	d.told = true
	d.digest.restart()
	if resp.StatusCode == http.StatusOK && contentIsStored(resp) {
		d.digest.claim(representationDigests(resp.Header)...)
		d.digest.claim(messageDigests(resp.Header)...)
	}
	if err := d.hash(ctx, 0); err != nil {
		return false, err
	}
	return d.fill(ctx, resp, 0, total)
}

// takeRange makes a 206's body the file's bytes from span on. done is false when a server honestly sends fewer bytes
// than it was asked for.
func (d *download) takeRange(ctx context.Context, span contentRange, resp *http.Response) (done bool, err error) {
	if !d.told {
		if err := d.tell(ctx, resp); err != nil {
			return false, err
		}
		d.told = true
	}
	if err := d.named(resp); err != nil {
		return false, err
	}
	if err := d.part.SetTotal(span.total); err != nil {
		return false, fileError("write part file", d.to.part, err, task.CannotWriteFile)
	}
	if contentIsStored(resp) {
		d.digest.claim(representationDigests(resp.Header)...)
	}
	if err := d.hash(ctx, span.first); err != nil {
		return false, err
	}
	return d.fill(ctx, resp, span.first, span.end)
}

// fill writes a response's body to the part file: see receive. Where it helps, further connections bring what else is
// missing. done says that nothing is.
func (d *download) fill(ctx context.Context, resp *http.Response, from, end int64) (done bool, err error) {
	if d.spreads(resp) {
		return d.spread(resp, from, end)
	}
	if err := d.receive(ctx, resp, from, end); err != nil {
		return false, err
	}
	total := d.part.Total()
	return total < 0 || d.part.Prefix() == total, nil
}

// contentIsStored reports whether the digests in resp's header are of the bytes that are stored: not of a body that a
// HEAD leaves out or somebody has decoded on the way.
func contentIsStored(resp *http.Response) bool {
	return !resp.Uncompressed && (resp.Request == nil || resp.Request.Method != http.MethodHead)
}

// named gives a download to a folder its name, by the response, and checks that it can have it.
func (d *download) named(resp *http.Response) error {
	if d.to.name != "" {
		return nil
	}
	if name := dispositionName(resp.Header); name == "" && d.to.ofURL != "" {
		d.to.name = d.to.ofURL
	} else {
		d.to.name = fileName(name, d.to.url, responseURL(resp))
	}
	if err := d.to.check(); err != nil {
		return err
	}
	return d.readDigestFile()
}

func responseURL(resp *http.Response) string {
	if resp.Request == nil {
		return ""
	}
	return resp.Request.URL.String()
}

// hash brings the digests to position upto of the part file.
func (d *download) hash(ctx context.Context, upto int64) error {
	d.idle.hold()
	defer d.idle.release()
	err := d.digest.prepare(ctx, d.part, upto)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return d.wireError(err)
	}
	return fileError("read part file", d.to.part, err, task.CannotOpenFile)
}

// finish verifies the complete part file and gives it its name.
func (d *download) finish(ctx context.Context, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK && contentIsStored(resp) {
		d.digest.claim(representationDigests(resp.Trailer)...)
		d.digest.claim(messageDigests(resp.Trailer)...)
	}
	if err := d.hash(ctx, d.part.Written().End()); err != nil {
		return err
	}
	digest, err := d.digest.verify()
	if err != nil {
		return d.mismatch(err)
	}
	d.announce(digest)
	path, err := d.part.Commit(d.to.final(), d.to.conflict())
	if err != nil {
		return d.commitError(path, err)
	}
	d.result.Path, d.result.Digest = path, digest
	return nil
}

func (d *download) mismatch(err error) error {
	if path, aside := d.part.Aside(); aside == nil {
		d.ended = true
		err = fmt.Errorf("%w; what arrived is kept as %s", err, path)
	}
	return d.fail(task.DigestMismatch, 0, err)
}

func (d *download) commitError(path string, err error) error {
	switch {
	case path != "": // it stands, but may not survive the loss of power
		d.ended = true
		return fileError("make durable", path, err, task.CannotWriteFile)
	case errors.Is(err, os.ErrExist):
		return existsError(d.to.final())
	}
	if _, ok := errors.AsType[*os.LinkError](err); !ok { // fsync
		return fileError("make durable", d.to.part, err, task.CannotWriteFile)
	}
	return fileError("rename part file to", d.to.final(), err, task.CannotMoveFile)
}

// abandon ends a download that failed: what it holds is recorded, where it can be gone on from, else removed.
func (d *download) abandon() {
	if d.ended {
		return
	}
	if d.foreign || d.to.temporary() && !d.resumable() {
		d.part.Discard()
		return
	}
	d.part.Close()
	if held := d.part.Held(); held.Total() > 0 && d.resumable() {
		d.result.ResumeData = d.resumeData(held)
	}
}

// resumable reports whether the part file's bytes, of whatever number, can be gone on from.
func (d *download) resumable() bool {
	return d.Spec.Request.Method == http.MethodGet && !d.foreign &&
		(d.part.Validator().Strong() || d.proven())
}

func (d *download) resumeData(held partial.Ranges) *task.ResumeData {
	v, spec := d.part.Validator(), d.to.spec
	return &task.ResumeData{
		Version: task.ResumeDataVersion, URL: d.Spec.Request.URL, Header: d.Spec.Request.Header,
		Destination: spec.Destination, Path: spec.Path, Folder: spec.Folder, Conflict: spec.Conflict,
		Digests: spec.Digests, DigestFile: spec.DigestFile,
		Part: d.to.part, ETag: v.ETag, LastModified: v.LastModified, Total: d.part.Total(), Held: held,
	}
}
