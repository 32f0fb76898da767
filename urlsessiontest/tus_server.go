package urlsessiontest

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"hash/crc32"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// TusServer is an origin for uploads by tus 1.0.0
// (https://tus.io/protocols/resumable-upload). Make one with [NewTusServer] and
// Close it.
//
// Each path is a creation URL, but those below /uploads/, which are the upload
// resources. By default the server has all of [TusExtensions].
//
//	srv := urlsessiontest.NewTusServer(urlsessiontest.TusExtensions("creation", "checksum"))
//	defer srv.Close()
//	srv.Script("/files/",
//		urlsessiontest.UploadHonest(),      // OPTIONS
//		urlsessiontest.UploadHonest(),      // the creation
//		urlsessiontest.UploadCut(1<<20),    // PATCH
//		urlsessiontest.UploadHonest(),      // HEAD
//		urlsessiontest.UploadLosesAnswer()) // PATCH
//
// The steps are those of [UploadServer]: what they say of 104s has no meaning
// here, nor UploadFinal, and UploadUnaware takes a body as any other. A request
// for an upload resource consumes a step of the script of its own path, else of
// its creation URL's. [UploadLimits] has MaxSize (Tus-Max-Size) and MaxAge
// (Upload-Expires, counted anew from each PATCH).
type TusServer struct {
	*uploadHost
}

// tusProtocol is UploadReply.Version, and Upload.Version, of tus 1.0.0.
const tusProtocol = 1

const tusVersion = "1.0.0"

// tusExtensions are those that the server knows.
var tusExtensions = []string{
	"creation", "creation-with-upload", "creation-defer-length", "termination", "checksum", "expiration", "concatenation",
}

var tusAlgorithms = map[string]func() hash.Hash{
	"sha1":   sha1.New,
	"sha256": sha256.New,
	"sha512": sha512.New,
	"md5":    md5.New,
	"crc32":  func() hash.Hash { return crc32.NewIEEE() },
}

// statusChecksum is 460 Checksum Mismatch.
const statusChecksum = 460

// TusExtensions are what a [TusServer] offers beside the core: creation,
// creation-with-upload, creation-defer-length, termination, checksum, expiration
// and concatenation. Without the option it has all; another one panics.
func TusExtensions(names ...string) UploadOption {
	for _, name := range names {
		if !slices.Contains(tusExtensions, name) {
			panic(fmt.Sprintf("urlsessiontest: tus extension %q is none of %s", name, strings.Join(tusExtensions, ", ")))
		}
	}
	return func(h *uploadHost) { h.extensions = slices.Clone(names) }
}

// TusChecksums are the algorithms of a [TusServer]'s extension checksum, of sha1,
// sha256, sha512, md5 and crc32; without the option all but sha512. Others panic.
func TusChecksums(algorithms ...string) UploadOption {
	for _, name := range algorithms {
		if tusAlgorithms[name] == nil {
			panic(fmt.Sprintf("urlsessiontest: tus checksum %q is none of %s", name, strings.Join(slices.Sorted(maps.Keys(tusAlgorithms)), ", ")))
		}
	}
	return func(h *uploadHost) { h.checksums = slices.Clone(algorithms) }
}

// TusLocations changes each Location of a [TusServer], which else is an absolute
// URL of its own: to a relative one, or to http behind a proxy that ends TLS.
func TusLocations(edit func(location string) string) UploadOption {
	return func(h *uploadHost) { h.locations = edit }
}

// TusLocks has a request for an upload that another one holds be answered 423.
// Without it the earlier one is ended.
func TusLocks() UploadOption { return func(h *uploadHost) { h.locks = true } }

// NewTusServer starts an origin on a free port of 127.0.0.1. It panics if the
// machine has none.
func NewTusServer(opts ...UploadOption) *TusServer {
	s := &TusServer{newUploadHost(append([]UploadOption{
		TusExtensions(tusExtensions...), TusChecksums("sha1", "sha256", "md5", "crc32"),
		TusLocations(func(location string) string { return location }),
	}, opts...))}
	s.start(s.serve)
	return s
}

// Close is [Server.Close]; the content of the uploads is gone with it if it was
// kept in files.
func (s *TusServer) Close() {
	s.uploadHost.Close()
	s.closeUploads()
}

// Script appends steps to the script of a creation URL's path, or of an upload
// resource's: each request for it consumes one. [Every] is for the paths that
// have no script of their own.
func (s *TusServer) Script(path string, steps ...UploadStep) { s.script(path, steps) }

// Always sets what answers path's requests beside its script.
func (s *TusServer) Always(path string, step UploadStep) { s.always(path, step) }

// Uploads is what has been uploaded, or begun, in the order of the creations:
// partial uploads and the final ones of them too, as the Header of each says.
func (s *TusServer) Uploads() []Upload { return s.allUploads() }

func (s *TusServer) serve(x *uploadExchange) {
	path := x.req.URL.Path
	up := s.uploadAt(path)
	key := path
	if up != nil && !s.scripted(path) {
		key = up.upload.Target
	}
	x.plan(s.next(key), tusProtocol)
	if x.reply.Version == tusProtocol {
		x.reply.edits = slices.Insert(x.reply.edits, 0, func(status int, h http.Header) int {
			h.Set("Tus-Resumable", tusVersion)
			return status
		})
	}
	switch {
	case x.reply.refusal != nil:
		x.answer(*x.reply.refusal)
	case x.reply.Version != tusProtocol:
		s.plain(x)
	case x.req.Method == http.MethodOptions:
		s.options(x)
	case x.req.Header.Get("Tus-Resumable") != tusVersion:
		x.answer(UploadAnswer{Status: http.StatusPreconditionFailed, Header: http.Header{"Tus-Version": {tusVersion}}})
	case up != nil:
		s.resource(x, up)
	case strings.HasPrefix(path, uploadsPath):
		x.refuse(http.StatusNotFound, "there is no such upload")
	case x.req.Method == http.MethodPost && s.offers("creation"):
		s.create(x)
	default:
		x.answer(UploadAnswer{Status: http.StatusMethodNotAllowed, Header: http.Header{"Allow": {"OPTIONS, POST"}}})
	}
}

func (s *TusServer) offers(extension string) bool { return slices.Contains(s.extensions, extension) }

// plain takes a body as a server does that knows nothing of tus.
func (s *TusServer) plain(x *uploadExchange) {
	switch x.req.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		if err := x.receive(func([]byte) error { return nil }); err != nil {
			x.cut(err)
		}
		x.answer(UploadAnswer{Status: http.StatusOK})
	default:
		x.answer(UploadAnswer{Status: http.StatusMethodNotAllowed, Header: http.Header{"Allow": {"PATCH, POST, PUT"}}})
	}
}

// options says what the server can do.
func (s *TusServer) options(x *uploadExchange) {
	h := http.Header{"Tus-Version": {tusVersion}}
	setOrDelete(h, "Tus-Extension", strings.Join(s.extensions, ","))
	if s.limit.MaxSize > 0 {
		h.Set("Tus-Max-Size", strconv.FormatInt(s.limit.MaxSize, 10))
	}
	if s.offers("checksum") {
		h.Set("Tus-Checksum-Algorithm", strings.Join(s.checksums, ","))
	}
	x.answer(UploadAnswer{Status: http.StatusNoContent, Header: h})
}
