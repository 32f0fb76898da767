package task

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
)

// ScanJSON reads a spec at the beginning of data in the form that AppendJSON writes, several times as fast as package json,
// and returns what follows it. False: it is in another form, or none, which package json is to find out, and s is empty. What
// ScanJSON takes json takes too, unknown fields disallowed, and makes the same spec of it.
func (s *Spec) ScanJSON(data []byte) (rest []byte, ok bool) {
	in := scanner{b: data}
	*s = Spec{}
	in.spec(s)
	if in.bad {
		*s = Spec{}
		return nil, false
	}
	return in.b, true
}

// scanner reads JSON as object writes it: the fields in their order, and no space around names.
type scanner struct {
	b     []byte // what is still to be read
	first bool   // the field that comes is its object's first
	bad   bool   // it is another form; what follows is of no account
}

func (in *scanner) spec(s *Spec) {
	in.begin()
	in.field("kind", (*string)(&s.Kind))
	if in.has("request") {
		in.request(&s.Request)
	}
	in.field("key", &s.Key)
	in.field("configuration", &s.Configuration)
	in.field("description", &s.Description)
	in.field("metadata", &s.Metadata)
	in.field("priority", &s.Priority)
	in.field("suspended", &s.Suspended)
	in.field("earliestBegin", &s.EarliestBegin)
	if in.has("policy") {
		in.policy(&s.Policy)
	}
	if in.has("download") {
		s.Download = new(DownloadSpec)
		in.download(s.Download)
	}
	in.field("upload", &s.Upload)
	in.field("limit", &s.Limit)
	in.field("rateLimit", &s.RateLimit)
	in.field("stream", &s.Stream)
	in.end()
}

func (in *scanner) request(r *Request) {
	in.begin()
	in.field("method", &r.Method)
	in.field("url", &r.URL)
	in.field("header", &r.Header)
	in.field("body", &r.Body)
	in.end()
}

func (in *scanner) policy(p *Policy) {
	in.begin()
	in.field("requestTimeout", &p.RequestTimeout)
	in.field("resourceTimeout", &p.ResourceTimeout)
	in.field("waitsForConnectivity", &p.WaitsForConnectivity)
	in.field("waitsForSpace", &p.WaitsForSpace)
	in.field("discretionary", &p.Discretionary)
	in.field("allowsExpensive", &p.AllowsExpensive)
	in.field("allowsConstrained", &p.AllowsConstrained)
	in.field("connections", &p.Connections)
	in.field("cache", (*string)(&p.Cache))
	in.field("retries", &p.Retries)
	in.field("retryUnsafe", &p.RetryUnsafe)
	in.field("failOnHTTPError", &p.FailOnHTTPError)
	in.field("forbidDowngrade", &p.ForbidDowngrade)
	in.field("ask", &p.Ask)
	in.end()
}

func (in *scanner) download(d *DownloadSpec) {
	in.begin()
	in.field("destination", &d.Destination)
	in.field("path", &d.Path)
	in.field("folder", &d.Folder)
	in.field("conflict", (*string)(&d.Conflict))
	in.field("digests", &d.Digests)
	in.field("digestFile", &d.DigestFile)
	in.field("resume", &d.Resume)
	in.field("keyURL", &d.KeyURL)
	in.end()
}

func (in *scanner) begin() {
	in.skip("{")
	in.first = true
}

func (in *scanner) end() {
	in.skip("}")
	in.first = false
}

func (in *scanner) skip(text string) {
	if len(in.b) < len(text) || string(in.b[:len(text)]) != text {
		in.bad = true
		return
	}
	in.b = in.b[len(text):]
}

// has says whether the field that comes has the name, and begins it then.
func (in *scanner) has(name string) bool {
	b := in.b
	if !in.first {
		if len(b) == 0 || b[0] != ',' {
			return false
		}
		b = b[1:]
	}
	n := len(name) + len(`"":`)
	if in.bad || len(b) < n || b[0] != '"' || string(b[1:1+len(name)]) != name || b[n-2] != '"' || b[n-1] != ':' {
		return false
	}
	in.b, in.first = b[n:], false
	return true
}

// field reads the field that comes into what v points to, where it has the name.
func (in *scanner) field(name string, v any) {
	if !in.has(name) {
		return
	}
	switch v := v.(type) {
	case *string:
		*v = in.text()
	case *int:
		*v = int(in.integer(strconv.IntSize))
	case *int64:
		*v = in.integer(64)
	case *time.Duration:
		*v = time.Duration(in.integer(64))
	case *bool:
		if *v = len(in.b) > 0 && in.b[0] == 't'; *v {
			in.skip("true")
		} else {
			in.skip("false")
		}
	default:
		in.other(v)
	}
}

func (in *scanner) text() string {
	if len(in.b) > 0 && in.b[0] == '"' {
		if n := bytes.IndexByte(in.b[1:], '"'); n >= 0 && plain(in.b[1:1+n]) {
			s := string(in.b[1 : 1+n])
			in.b = in.b[n+2:]
			return s
		}
	}
	var s string
	in.other(&s)
	return s
}

// plain says whether a text stands in JSON as it is.
func plain(text []byte) bool {
	for _, c := range text {
		if c < ' ' || c > '~' || c == '\\' {
			return false
		}
	}
	return true
}

func (in *scanner) integer(bits int) int64 {
	n := 0
	for n < len(in.b) && (in.b[n] >= '0' && in.b[n] <= '9' || n == 0 && in.b[n] == '-') {
		n++
	}
	v, err := strconv.ParseInt(string(in.b[:n]), 10, bits)
	if digits := bytes.TrimPrefix(in.b[:n], []byte("-")); err != nil || len(digits) > 1 && digits[0] == '0' {
		in.bad = true
	}
	in.b = in.b[n:]
	return v
}

// other is a value that package json reads.
func (in *scanner) other(v any) {
	d := json.NewDecoder(bytes.NewReader(in.b))
	d.DisallowUnknownFields()
	if d.Decode(v) != nil {
		in.bad = true
		return
	}
	in.b = in.b[d.InputOffset():]
}
