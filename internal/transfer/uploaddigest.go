package transfer

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/dunglas/httpsfv"

	"github.com/urlsession/urlsession/internal/task"
)

const (
	digestField     = "Repr-Digest"
	wantDigestField = "Want-Repr-Digest"
)

// expectations are the digests of the task that its body must have.
func (r *run) expectations() ([]expectation, error) {
	if r.Spec.Upload == nil {
		return nil, nil
	}
	var list []expectation
	for _, s := range r.Spec.Upload.Digests {
		e, err := parseDigest(s)
		if err != nil {
			return nil, r.fail(task.DigestMismatch, 0, err)
		}
		list = append(list, e)
	}
	return list, nil
}

// checkDigests hashes the body before anything of it leaves, which is no idleness of the network, and fails where it is not what
// the task says. Nothing is sent then. An upload that a server holds was hashed when it was begun, and its file is
// held to what it was then: it is not read again. A stream is opened anew after it.
func (r *run) checkDigests(ctx context.Context, body *requestBody) error {
	list, err := r.expectations()
	if err != nil || len(list) == 0 || r.Upload != nil {
		return err
	}
	r.idle.hold()
	defer r.idle.release()
	var v verifier
	v.want(list...)
	switch {
	case body == nil:
		err = v.prepare(ctx, nil, 0)
	case body.file != nil:
		err = v.prepare(ctx, body.file, body.size)
	default:
		err = r.hashStream(ctx, &v, body.size)
	}
	if stopped := r.stopped(); stopped != nil {
		return stopped
	}
	if err != nil {
		if changed := body.check(); changed != nil {
			return changed
		}
		return body.readError(err)
	}
	if _, err := v.verify(); err != nil {
		return r.fail(task.DigestMismatch, 0, fmt.Errorf("the body is not what it was to be, and nothing was sent: %w", err))
	}
	return nil
}

// hashStream reads a stream to its end.
func (r *run) hashStream(ctx context.Context, v *verifier, size int64) error {
	if err := v.prepare(ctx, nil, 0); err != nil {
		return err
	}
	from, err := r.Body()
	if err != nil {
		return err
	}
	s := newStream(ctx, from, size)
	defer s.Close()
	buf := takeBuffer(size)
	defer buf.free()
	for at := int64(0); ; {
		n, err := s.Read(buf.b)
		v.write(buf.b[:n], at)
		at += int64(n)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// promise has the server check the body by what the task says of it: Repr-Digest (RFC 9530 §3), unless the caller has such a
// field. MD5 is not told, as no server should believe it (RFC 9530 §5).
func (r *run) promise(h http.Header) error {
	list, err := r.expectations()
	if err != nil || r.Spec.Upload == nil || r.Spec.Upload.Multipart != nil || hasField(h, digestField) {
		return err
	}
	d := httpsfv.NewDictionary()
	for _, e := range list {
		if e.algorithm.name != "md5" {
			d.Add(e.algorithm.name, httpsfv.NewItem(e.sum))
		}
	}
	setDictionary(h, digestField, d)
	return nil
}

// wantDigest asks for the digest of what the server comes to have (RFC 9530 §4).
func (u *upload) wantDigest(h http.Header) {
	if hasField(h, wantDigestField) {
		return
	}
	list, _ := u.expectations() // that there is an error was found before
	d := httpsfv.NewDictionary()
	for _, e := range list {
		if e.algorithm.name != "md5" {
			d.Add(e.algorithm.name, httpsfv.NewItem(10))
		}
	}
	setDictionary(h, wantDigestField, d)
}

func hasField(h http.Header, name string) bool {
	for have := range h {
		if http.CanonicalHeaderKey(have) == name {
			return true
		}
	}
	return false
}

// setDictionary sets a field that has members.
func setDictionary(h http.Header, name string, d *httpsfv.Dictionary) {
	if len(d.Names()) == 0 {
		return
	}
	if text, err := httpsfv.Marshal(d); err == nil { // of bytes and numbers it cannot fail
		h.Set(name, text)
	}
}

// promised says whether the server that has the upload was told a digest of the whole, which it checks from version 6 on.
func (u *upload) promised(s *task.UploadState) bool {
	return s.Protocol == task.ResumableIETF && s.Version >= 6 && hasField(u.req.Header, digestField)
}

// contradicted finds out whether the answer of an upload that is done has another Repr-Digest than the body, of an algorithm
// that the task has given a digest of.
//
// An answer without content, and one to HEAD, can mean the upload alone. Content has a digest of its own: where it describes
// the status of the request, RFC 9530 has Repr-Digest be that (§3.1, Appendix B.8), and the draft has it be the
// upload's. Which it is cannot be seen, so that it says nothing.
func (u *upload) contradicted(resp *http.Response) error {
	if resp.StatusCode/100 != 2 || contentLength(resp) != 0 && resp.StatusCode != http.StatusNoContent {
		return nil
	}
	list, err := u.expectations()
	if err != nil {
		return err
	}
	for _, have := range structuredDigests(resp.Header, digestField) {
		for _, e := range list {
			if have.algorithm == e.algorithm && !bytes.Equal(have.sum, e.sum) {
				return u.fail(task.DigestMismatch, resp.StatusCode, fmt.Errorf(
					"the server says that the %s of what it has is %s, and that of what was sent is %s; it was told to drop it: upload it anew",
					have.algorithm.name, hex.EncodeToString(have.sum), hex.EncodeToString(e.sum)))
			}
		}
	}
	return nil
}
