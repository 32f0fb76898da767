package urlsession

import (
	"path/filepath"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

var resumables = map[Resumable]task.Resumable{ResumableIETF: task.ResumableIETF, ResumableTus: task.ResumableTus, ResumableNo: task.ResumableNo}

// uploadSpec is what an upload of this body is asked beyond its request; nil: nothing.
func uploadSpec(r *Request, body *openedBody, background bool) (*task.UploadSpec, error) {
	refuse := func(field, why string) (*task.UploadSpec, error) {
		return nil, refusal(task.Upload, r, ErrUnknown, field, why)
	}
	if r.Resumable == ResumableAuto && r.Multipart == nil && len(r.Digests) == 0 && r.DigestFile == "" {
		return nil, nil
	}
	u := &task.UploadSpec{Resumable: resumables[r.Resumable]}
	var why string
	if u.Digests, why = parseDigests(r.Digests); why != "" {
		return refuse("Digests", why)
	}
	if r.DigestFile != "" {
		if body.spec.Path == "" {
			return refuse("DigestFile", "is set, and the body has no name to look for in it; give a File, or Digests")
		}
		path, _, err := statSource("open checksum file", r.DigestFile)
		if err != nil {
			return nil, err
		}
		listed, err := transfer.ReadChecksums(path, filepath.Base(body.spec.Path))
		if err != nil {
			return nil, publicError(createOp(task.Upload), err)
		}
		u.Digests = append(u.Digests, listed...)
	}
	if once, ok := body.reader.(*stream); ok && once.rewind == nil && !background && len(u.Digests) > 0 {
		return refuse("Digests", "is set, and a body that is read once cannot be verified before it is sent; give a File, or Stream a rewind function")
	}
	if m := r.Multipart; m != nil {
		var field string
		if u.Multipart, field, why = m.spec(body.spec.Size, r.URL != ""); why != "" {
			return refuse(field, why)
		}
	}
	return u, nil
}
