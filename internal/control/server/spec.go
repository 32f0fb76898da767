package server

import (
	"net/http"
	"net/url"
	"path/filepath"
	"reflect"

	"github.com/urlsession/urlsession/internal/task"
)

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

// checkSpec refuses a spec that no session of ours would make: a file's path that means something only in the app, what
// only a session in process can do, and values without a meaning.
func checkSpec(op string, s *task.Spec) error {
	bad := func(format string, args ...any) error { return malformed(op, http.StatusBadRequest, format, args...) }
	switch {
	case s.Kind != task.Data && s.Kind != task.Download && s.Kind != task.Upload:
		return bad("kind %q", s.Kind)
	case s.Request.Method == "":
		return bad("the request has no method")
	case s.Stream:
		return bad("only a session in process can stream a body")
	case (s.Kind == task.Download) != (s.Download != nil):
		return bad("a download has a destination, and nothing else has")
	case !(s.Priority >= 0 && s.Priority <= 1):
		return bad("priority %v; it goes from above 0 to 1", float64(s.Priority))
	case s.Limit < 0 || s.RateLimit < 0 || s.Policy.RequestTimeout < 0 || s.Policy.ResourceTimeout < 0 || s.Policy.Retries < -1:
		return bad("a limit, a timeout or the number of retries is negative")
	case len(s.Key) > 255:
		return bad("a key of %d bytes; at most 255 are taken", len(s.Key))
	}
	if b := s.Request.Body; b != nil && (b.Path != "" && !filepath.IsAbs(b.Path) || b.Size < -1) {
		return bad("the body's file is not absolute, or its size is negative")
	} else if b != nil && b.Spooled {
		return bad("its body is a copy of another task's, which is removed with that")
	}
	if d := s.Download; d != nil {
		for _, p := range []string{d.Path, d.DigestFile} {
			if p != "" && !filepath.IsAbs(p) {
				return bad("the path %q is not absolute", p)
			}
		}
		if d.Resume != nil && d.Resume.Upload != nil {
			return bad("a download does not go on from an upload")
		}
	}
	if u := s.Upload; u != nil && u.Resume != nil {
		b := s.Request.Body
		if s.Kind != task.Upload || b == nil || b.Path == "" || b.Source == nil {
			return bad("only the upload of a file that is known goes on from another's")
		}
		if err := u.Resume.Check(u.Multipart, b.Source.Size); err != nil {
			return bad("what the server holds of the upload: %w", err)
		}
	}
	if u := s.Upload; u != nil && u.Multipart != nil {
		if err := checkMultipart(op, s); err != nil {
			return err
		}
	}
	return checkURL(op, s.Request.URL)
}

// maxParts is the most parts of an upload, as at S3.
const maxParts = 10_000

// checkMultipart is checkSpec of an upload in parts.
func checkMultipart(op string, s *task.Spec) error {
	m := s.Upload.Multipart
	bad := func(format string, args ...any) error { return malformed(op, http.StatusBadRequest, format, args...) }
	switch n := len(m.Parts); {
	case s.Kind != task.Upload || s.Request.Body == nil:
		return bad("only an upload, of a body, goes in parts")
	case n == 0 || n > maxParts:
		return bad("%d URLs of parts; from 1 to %d are taken", n, maxParts)
	case m.PartSize <= 0:
		return bad("parts of %d bytes", m.PartSize)
	case m.Completes && s.Request.Method != http.MethodPost:
		return bad("an upload in parts is completed by POST, not by %q", s.Request.Method)
	}
	for i, p := range m.Uploaded {
		if p.Number < 1 || p.Number > len(m.Parts) || p.ETag == "" || i > 0 && p.Number <= m.Uploaded[i-1].Number {
			return bad("an uploaded part %d that is none of the %d, has no ETag, or does not come after the one before it", p.Number, len(m.Parts))
		}
	}
	for _, url := range m.Parts {
		if err := checkURL(op, url); err != nil {
			return err
		}
	}
	if m.Abort != "" {
		return checkURL(op, m.Abort)
	}
	return nil
}

func checkURL(op, raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "":
		return &task.Error{Op: op, URL: task.Redact(raw), Code: task.BadURL}
	case u.Scheme != "http" && u.Scheme != "https":
		return &task.Error{Op: op, URL: task.Redact(raw), Code: task.UnsupportedURL}
	}
	return nil
}

// maxSecret is the most bytes of each text of a credential. A server's header holds less.
const maxSecret = 64 << 10

// checkAnswer refuses an answer to a challenge that means nothing. Its error holds nothing of the credential.
func checkAnswer(op string, a *task.Answer) error {
	bad := func(format string, args ...any) error { return malformed(op, http.StatusBadRequest, format, args...) }
	if a == nil {
		return nil
	}
	switch a.Disposition {
	case task.UseCredential:
	case task.UseDefault, task.CancelTask, task.RejectSpace:
		if a.Credential != nil {
			return bad("a credential comes with the disposition %q alone", task.UseCredential)
		}
		return nil
	default:
		return bad("disposition %q; it is %q, %q, %q or none", a.Disposition, task.UseCredential, task.CancelTask, task.RejectSpace)
	}
	switch c := a.Credential; {
	case c == nil || c.User == "" && c.Password == "" && c.Token == "":
		return bad("the disposition %q comes with a credential", task.UseCredential)
	case c.Token != "" && c.Password != "":
		return bad("the credential has both a password and a token")
	case len(c.User) > maxSecret || len(c.Password) > maxSecret || len(c.Token) > maxSecret:
		return bad("the credential is of more than %d bytes", maxSecret)
	case c.Persistence != "" && c.Persistence != "none" && c.Persistence != "session" && c.Persistence != "permanent":
		return bad("persistence %q; it is none, session or permanent", c.Persistence)
	}
	return nil
}
