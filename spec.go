package urlsession

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/urlsession/urlsession/internal/task"
)

func createOp(kind task.Kind) string { return "create " + string(kind) + " task" }

// refusal is the error of a field of a request.
func refusal(kind task.Kind, r *Request, code Code, field, why string) error {
	return &Error{Op: createOp(kind), URL: redact(r.URL), Code: code, Err: errors.New("Request." + field + " " + why)}
}

// newSpec checks a request and makes it the Spec of a task of this kind, with the body that goes beside it. It touches
// files, never the network.
func (s *Session) newSpec(kind task.Kind, r Request) (task.Spec, io.Reader, error) {
	refuse := func(field, why string) (task.Spec, io.Reader, error) {
		return task.Spec{}, nil, refusal(kind, &r, ErrUnknown, field, why)
	}

	parts := r.Multipart
	if parts == nil || r.URL != "" {
		if code, why := checkURL(r.URL); why != "" {
			return task.Spec{}, nil, &Error{Op: createOp(kind), URL: redact(r.URL), Code: code, Err: errors.New(why)}
		}
	}
	method := r.Method
	switch {
	case method != "":
	case parts != nil && r.URL != "":
		method = http.MethodPost
	case kind == task.Upload:
		method = http.MethodPut
	default:
		method = http.MethodGet
	}
	switch {
	case !httpguts.ValidHeaderFieldName(method): // a method is a token, as a field's name is (RFC 9110 §9.1)
		return refuse("Method", fmt.Sprintf("is %q, which is no HTTP method", method))
	case method == http.MethodConnect:
		return refuse("Method", "is CONNECT, which makes tunnels and no tasks; set Configuration.Proxy to go through a proxy")
	case kind == task.Upload && (method == http.MethodGet || method == http.MethodHead || method == http.MethodTrace):
		return refuse("Method", "is "+method+", which sends no body; upload by PUT, POST or PATCH")
	case kind == task.Upload && r.Body.open == nil:
		return refuse("Body", "is none; give an upload Bytes, File, Stream, Form, Text or JSON")
	case method == http.MethodTrace && r.Body.open != nil:
		return refuse("Body", "is set, and TRACE must not have one (RFC 9110 §9.3.8)")
	case !(r.Priority >= 0 && r.Priority <= 1): // NaN too
		return refuse("Priority", fmt.Sprintf("is %v; it goes from above 0 to 1, and 0 is the default", float64(r.Priority)))
	case r.RateLimit < 0:
		return refuse("RateLimit", fmt.Sprintf("is %d bytes a second; 0 is none", r.RateLimit))
	case r.Limit < 0:
		return refuse("Limit", fmt.Sprintf("is %d bytes; 0 is the default of %d", r.Limit, DefaultLimit))
	case r.Limit != 0 && kind == task.Download:
		return refuse("Limit", "is set, and a download has none")
	case r.Stream && kind != task.Data:
		return refuse("Stream", "is set; only a data task hands its body over as it comes")
	case r.Stream && s.config.kind == kindBackground:
		return refuse("Stream", "is set, and the daemon keeps the body of a task; read it by Task.Body, or use a session in this process")
	case r.Stream && r.Limit != 0:
		return refuse("Limit", "is set, and a task with Stream has none")
	case r.Resumable < ResumableAuto || r.Resumable > ResumableNo:
		return refuse("Resumable", fmt.Sprintf("is %d, which is none of the Resumable constants", int(r.Resumable)))
	case r.Resumable != ResumableAuto && kind != task.Upload:
		return refuse("Resumable", "is set; only an upload has it")
	case parts != nil && kind != task.Upload:
		return refuse("Multipart", "is set; only an upload has it")
	case kind != task.Download && r.Conflict != ConflictFail:
		return refuse("Conflict", "is set; only a download has it")
	case kind == task.Data && (len(r.Digests) > 0 || r.DigestFile != ""):
		return refuse("Digests or DigestFile", "is set; only a download and an upload have them")
	}
	background := s.config.kind == kindBackground
	if parts != nil {
		if code, field, why := parts.check(&r, background); why != "" {
			return task.Spec{}, nil, refusal(kind, &r, code, field, why)
		}
	}

	if why := s.refusePolicy(kind, r.CachePolicy); why != "" {
		return refuse("CachePolicy", why)
	}

	additional, contentType := s.config.AdditionalHeaders, r.Body.contentType
	if parts != nil { // the body is the parts', and without a URL there is no other request
		contentType = ""
		if r.URL == "" {
			additional = nil
		}
	}
	header, why := mergeHeader(r.Header, additional, contentType)
	if why == "" {
		why = checkHeader(kind, header)
	}
	if why != "" {
		return refuse("Header", why)
	}

	spec := task.Spec{
		Kind:        kind,
		Request:     task.Request{Method: method, URL: r.URL, Header: header},
		Description: r.Description,
		Metadata:    maps.Clone(r.Metadata),
		Priority:    task.Priority(r.Priority),
		Suspended:   r.Suspended, EarliestBegin: r.EarliestBegin,
		Policy: s.policy,
		Limit:  r.Limit, RateLimit: r.RateLimit, Stream: r.Stream,
	}
	spec.Policy.Ask.Challenge = spec.Policy.Ask.Challenge || r.WaitsForAnswer
	spec.Policy.FailOnHTTPError, spec.Policy.RetryUnsafe = r.FailOnHTTPError, r.RetryUnsafe
	if r.CachePolicy != CachePolicyDefault {
		spec.Policy.Cache = cachePolicies[r.CachePolicy]
	}

	var body io.Reader
	if r.Body.open != nil {
		opened, err := r.Body.open()
		if err != nil {
			return task.Spec{}, nil, publicError(createOp(kind), err)
		}
		spec.Request.Body, body = &opened.spec, opened.reader
		if kind == task.Upload {
			if spec.Upload, err = uploadSpec(&r, &opened, background); err != nil {
				return task.Spec{}, nil, err
			}
		}
		if parts != nil && r.URL == "" {
			spec.Request.URL = parts.Parts[0]
		}
	}
	return spec, body, nil
}

// checkURL says what is wrong with a URL, without a word of it that may be secret; "" where it can be asked for.
func checkURL(raw string) (Code, string) {
	if raw == "" {
		return ErrBadURL, "the URL is empty"
	}
	u, err := url.Parse(raw)
	if err != nil {
		return ErrBadURL, badURL(raw, err)
	}
	switch scheme := strings.ToLower(u.Scheme); {
	case scheme == "":
		return ErrBadURL, "it has no scheme; write https:// or http:// before it"
	case scheme != "http" && scheme != "https" && u.Opaque != "": // "localhost:8080/f"
		return ErrUnsupportedURL, "only http and https are supported; where it begins with a host, write https:// or http:// before it"
	case scheme != "http" && scheme != "https":
		return ErrUnsupportedURL, fmt.Sprintf("the scheme is %q; only http and https are supported", u.Scheme)
	case u.Hostname() == "":
		return ErrBadURL, "it has no host; write it as https://host/path"
	}
	if port := u.Port(); port != "" {
		// url.Parse lets only digits through.
		if n, err := strconv.ParseUint(port, 10, 64); err != nil || n == 0 || n > 65535 {
			return ErrBadURL, "the port is " + port + "; it must be from 1 to 65535"
		}
	}
	return 0, ""
}

// redact is task.Redact, also of what has no scheme: there url.Parse takes a user for one, and the password for no secret.
func redact(raw string) string {
	if raw == "" || strings.Contains(raw, "://") {
		return task.Redact(raw)
	}
	const scheme = "http://"
	return strings.TrimPrefix(task.Redact(scheme+raw), scheme)
}

// badURL says why a URL does not parse. url.Parse's own words quote it, and there may be a password in what they quote.
func badURL(raw string, err error) string {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	escape, isEscape := errors.AsType[url.EscapeError](err)
	switch {
	case isEscape && string(escape) != "":
		return "a % in it is not followed by two hexadecimal digits; write %25 for a percent sign"
	case strings.TrimSpace(raw) != raw:
		return "it begins or ends with white space"
	case strings.ContainsFunc(raw, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "it has a control character in it"
	case strings.Contains(err.Error(), "invalid port"):
		return "its port is not a number; where the colon is part of a user or password, write %3A for it"
	case strings.Contains(err.Error(), "missing protocol scheme"):
		return "it has no scheme; write https:// or http:// before it"
	case strings.Contains(err.Error(), "userinfo"):
		return "its user or password has a character that must be percent-encoded"
	case strings.Contains(err.Error(), "host"):
		return "its host has a character that no host name has"
	}
	return "it is not a URL; percent-encode what is special in it"
}

// mergeHeader is a request's header under canonical names, with the additional ones, and the body's type, that it lacks.
func mergeHeader(own, additional http.Header, contentType string) (http.Header, string) {
	if len(own)+len(additional) == 0 && contentType == "" {
		return nil, ""
	}
	h := make(http.Header, len(own)+len(additional)+1)
	for name, values := range own {
		if why := checkField(name, values); why != "" {
			return nil, why
		}
		key := textproto.CanonicalMIMEHeaderKey(name)
		h[key] = append(h[key], values...)
	}
	if _, ok := h["Content-Type"]; !ok && contentType != "" {
		h["Content-Type"] = []string{contentType}
	}
	for name, values := range additional { // canonical and checked by New
		if _, ok := h[name]; !ok {
			h[name] = slices.Clone(values)
		}
	}
	return h, ""
}

// checkField says what is wrong with a header field. It names the field, never its value, which may be a secret.
func checkField(name string, values []string) string {
	if !httpguts.ValidHeaderFieldName(name) {
		return fmt.Sprintf("has a field %q, which is no valid name (RFC 9110 §5.1)", name)
	}
	for _, v := range values {
		if !httpguts.ValidHeaderFieldValue(v) {
			return fmt.Sprintf("has a field %q whose value holds a line break or another control character", name)
		}
	}
	return ""
}

// checkHeader refuses the fields that a task makes itself.
func checkHeader(kind task.Kind, h http.Header) string {
	for _, name := range []string{"Content-Length", "Transfer-Encoding", "Trailer"} {
		if len(h[name]) > 0 {
			return fmt.Sprintf("has the field %q, which follows from Body; leave it out", name)
		}
	}
	if kind == task.Download {
		for _, name := range []string{"Range", "If-Range"} {
			if len(h[name]) > 0 {
				return fmt.Sprintf("has the field %q, which a download makes itself, to be resumed; fetch a part of a resource by a data task", name)
			}
		}
	}
	if v := h["Host"]; len(v) > 1 || len(v) == 1 && !httpguts.ValidHostHeader(v[0]) {
		return `has a field "Host" that is no host`
	}
	return ""
}

// downloadSpec is newSpec of a download.
func (s *Session) downloadSpec(r Request, destination string) (task.Spec, io.Reader, error) {
	file, err := fileSpec(r, destination)
	if err != nil {
		return task.Spec{}, nil, err
	}
	spec, body, err := s.newSpec(task.Download, r)
	spec.Download = file
	return spec, body, err
}

// fileSpec is what the request and the destination say of a download's file.
func fileSpec(r Request, destination string) (*task.DownloadSpec, error) {
	refuse := func(code Code, path string, err error) (*task.DownloadSpec, error) {
		return nil, &Error{Op: "create download task", URL: path, Code: code, Err: err}
	}
	d := &task.DownloadSpec{Destination: destination}
	if strings.ContainsRune(destination, 0) {
		return refuse(ErrCannotCreateFile, destination, errors.New("the path has a NUL in it"))
	}
	if destination != "" {
		abs, err := filepath.Abs(destination)
		if err != nil {
			return refuse(ErrCannotCreateFile, destination, err)
		}
		d.Path, d.Folder = abs, os.IsPathSeparator(destination[len(destination)-1])
		if !d.Folder {
			info, err := os.Stat(abs)
			d.Folder = err == nil && info.IsDir()
		}
	}
	switch r.Conflict {
	case ConflictFail:
	case ConflictReplace:
		d.Conflict = task.ConflictReplace
	case ConflictRename:
		d.Conflict = task.ConflictRename
	default:
		return refuse(ErrUnknown, "", fmt.Errorf("Request.Conflict is %d; use ConflictFail, ConflictReplace or ConflictRename", r.Conflict))
	}
	var why string
	if d.Digests, why = parseDigests(r.Digests); why != "" {
		return refuse(ErrUnknown, "", errors.New("Request.Digests "+why))
	}
	if r.DigestFile != "" {
		abs, _, err := statSource("open checksum file", r.DigestFile)
		if err != nil {
			return nil, err
		}
		d.DigestFile = abs
	}
	return d, nil
}

// parseDigests is Request.Digests in small letters, or what is wrong with it.
func parseDigests(digests []string) (parsed []string, why string) {
	for _, digest := range digests {
		algorithm, hexa, _ := strings.Cut(digest, "=")
		algorithm, hexa = strings.ToLower(algorithm), strings.ToLower(hexa)
		size, known := map[string]int{"sha-256": 32, "sha-512": 64, "md5": 16}[algorithm]
		if raw, err := hex.DecodeString(hexa); !known || err != nil || len(raw) != size {
			return nil, fmt.Sprintf("has %q; write sha-256=, sha-512= or md5= and then 64, 128 or 32 hexadecimal digits", digest)
		}
		parsed = append(parsed, algorithm+"="+hexa)
	}
	return parsed, ""
}
