package urlsessiontest

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// UploadServer is an origin for uploads that resume, as
// draft-ietf-httpbis-resumable-upload says in its interop versions 3 to 8. Make
// one with [NewUploadServer] and Close it.
//
// Each path is a target that takes uploads by POST, PUT and PATCH, but those
// below /uploads/, which are the upload resources. A request is answered by the
// interop version that it asks for if the server speaks it; else the server
// knows nothing of uploads that resume, and takes the body as any other.
//
//	srv := urlsessiontest.NewUploadServer()
//	defer srv.Close()
//	srv.Script("/f",
//		urlsessiontest.UploadCut(1<<20),   // the creation
//		urlsessiontest.UploadHonest(),     // HEAD
//		urlsessiontest.UploadLosesAnswer()) // PATCH
//
// A request for an upload resource consumes a step of its target's script.
type UploadServer struct {
	*uploadHost
}

// UploadVersions are the interop versions that the server speaks; without it
// they are 3 to 8, without any version it is a plain server. Others panic.
func UploadVersions(versions ...int) UploadOption {
	for _, v := range versions {
		if v < firstInterop || v > lastInterop {
			panic(fmt.Sprintf("urlsessiontest: interop version %d is none of %d to %d", v, firstInterop, lastInterop))
		}
	}
	return func(h *uploadHost) { h.versions = slices.Clone(versions) }
}

// UploadProgress sends a 104 with Upload-Offset each n bytes, from interop
// version 5 on.
func UploadProgress(n int64) UploadOption { return func(h *uploadHost) { h.progress = n } }

// NewUploadServer starts an origin on a free port of 127.0.0.1. It panics if the
// machine has none.
func NewUploadServer(opts ...UploadOption) *UploadServer {
	s := &UploadServer{newUploadHost(append([]UploadOption{UploadVersions(3, 4, 5, 6, 7, 8)}, opts...))}
	s.start(s.serve)
	return s
}

// Close is [Server.Close]; the content of the uploads is gone with it if it was
// kept in files.
func (s *UploadServer) Close() {
	s.uploadHost.Close()
	s.closeUploads()
}

// Script appends steps to the script of the target at path: each request for it,
// or for an upload resource that was made by it, consumes one. [Every] is for
// the targets that have no script of their own.
func (s *UploadServer) Script(path string, steps ...UploadStep) { s.script(path, steps) }

// Always sets what answers path's requests beside its script.
func (s *UploadServer) Always(path string, step UploadStep) { s.always(path, step) }

// Uploads is what has been uploaded, or begun, in the order of the creations.
func (s *UploadServer) Uploads() []Upload { return s.allUploads() }

func (s *UploadServer) serve(x *uploadExchange) {
	path := x.req.URL.Path
	up := s.uploadAt(path)
	key := path
	if up != nil {
		key = up.upload.Target
	}
	x.plan(s.next(key), s.version(x.req))
	switch {
	case x.reply.refusal != nil:
		x.answer(*x.reply.refusal)
	case up != nil:
		s.resource(x, up)
	case strings.HasPrefix(path, uploadsPath):
		x.refuse(http.StatusNotFound, "there is no such upload")
	case x.req.Method == http.MethodOptions:
		s.options(x)
	case x.req.Method == http.MethodPost, x.req.Method == http.MethodPut, x.req.Method == http.MethodPatch:
		s.create(x)
	default:
		x.answer(UploadAnswer{Status: http.StatusMethodNotAllowed, Header: http.Header{"Allow": {"OPTIONS, PATCH, POST, PUT"}}})
	}
}

// version is the interop version that the request asks for and the server
// speaks, or 0.
func (s *UploadServer) version(req *http.Request) int {
	v, ok := integerField(req.Header, "Upload-Draft-Interop-Version")
	if !ok || !slices.Contains(s.versions, int(v)) {
		return 0
	}
	return int(v)
}

// plan makes the reply honest and lets step change it.
func (x *uploadExchange) plan(step UploadStep, version int) {
	shown := x.req.Clone(x.host.ctx)
	shown.Body = http.NoBody
	x.reply = &UploadReply{Request: shown, Version: version, Announcements: 1, Progress: x.host.progress}
	step(x.reply)
	slices.SortStableFunc(x.reply.points, func(a, b uploadPoint) int { return cmp.Compare(a.n, b.n) })
}

// options says what the target takes: by Upload-Limit, from version 8 on by
// Accept-Patch too.
func (s *UploadServer) options(x *uploadExchange) {
	a := UploadAnswer{Status: http.StatusNoContent, Header: http.Header{"Allow": {"OPTIONS, PATCH, POST, PUT"}}}
	v := x.reply.Version
	if v == 0 && len(s.versions) > 0 && x.req.Header.Get("Upload-Draft-Interop-Version") == "" {
		v = slices.Max(s.versions)
	}
	d := dialect(v)
	limits := d.limits(s.limit, s.limit.MaxAge)
	switch {
	case d == 8:
		a.Header.Set("Accept-Patch", partialUpload)
	case d.typed() && limits == "":
		limits = "min-size=0"
	}
	setOrDelete(a.Header, "Upload-Limit", limits)
	x.answer(a)
}
