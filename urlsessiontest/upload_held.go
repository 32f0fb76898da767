package urlsessiontest

import (
	"slices"
	"strconv"
	"time"
)

// uploadsPath is where upload resources are.
const uploadsPath = "/uploads/"

// hold is a new upload by x, with a resource unless the version is 0.
func (h *uploadHost) hold(x *uploadExchange, version int, length int64) *uploadResource {
	up := &uploadResource{host: h, content: h.newContent(), want: x.req.Header.Get("Want-Repr-Digest"),
		digests: digestField(x.req.Header, "Repr-Digest")}
	if h.limit.MaxAge > 0 {
		up.expires = time.Now().Add(h.limit.MaxAge)
	}
	up.upload = Upload{Target: x.req.URL.Path, Method: x.req.Method, Header: x.req.Header.Clone(),
		Version: version, Length: length, content: up.content}
	h.changes(func() {
		if version != 0 {
			up.upload.Location = uploadsPath + strconv.Itoa(len(h.uploads)+1)
		}
		h.uploads = append(h.uploads, up)
	})
	return up
}

// uploadAt is the upload whose resource is at path.
func (h *uploadHost) uploadAt(path string) *uploadResource {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.IndexFunc(h.uploads, func(up *uploadResource) bool {
		return up.upload.Location != "" && up.upload.Location == path
	})
	if i < 0 {
		return nil
	}
	return h.uploads[i]
}

// allUploads is what has been uploaded, or begun, in the order of the creations.
func (h *uploadHost) allUploads() []Upload {
	h.mu.Lock()
	ups := slices.Clone(h.uploads)
	h.mu.Unlock()
	list := make([]Upload, len(ups))
	for i, up := range ups {
		list[i] = up.state()
	}
	return list
}

// closeUploads removes the content of all; the host is closed.
func (h *uploadHost) closeUploads() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, up := range h.uploads {
		up.content.close()
	}
}
