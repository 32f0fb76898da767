package urlsession

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"os"
	"path/filepath"
	"strings"

	"github.com/urlsession/urlsession/internal/task"
)

// Part is one part of a Form. It is made by Field, FileField and DataField.
type Part struct {
	name        string
	filename    string
	contentType string // empty: a plain value, without a file name
	data        string
	fromFile    bool // the content is that of the file at path, else data
	path        string
}

// Field is a form field with a value.
func Field(name, value string) Part { return Part{name: name, data: value} }

// FileField is a form field with a file's content, its name without folders, and a Content-Type by its extension
// (application/octet-stream where there is none). What File says of the file holds here.
func FileField(name, path string) Part {
	ct := mime.TypeByExtension(filepath.Ext(path))
	if ct == "" {
		ct = "application/octet-stream"
	}
	return Part{name: name, filename: filepath.Base(path), contentType: ct, fromFile: true, path: path}
}

// DataField is a form field with a file's content that is in memory. contentType may be empty:
// application/octet-stream.
func DataField(name, filename, contentType string, data []byte) Part {
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	return Part{name: name, filename: filename, contentType: contentType, data: string(data)}
}

// Form is a multipart/form-data body (RFC 7578) of these parts, in this order. Files are read while they are sent; its
// size is known beforehand, and it can be sent again.
func Form(parts ...Part) Body {
	boundary := rand.Text()
	return Body{
		open: func() (openedBody, error) {
			f, err := layOut(parts, boundary)
			if err != nil {
				return openedBody{}, err
			}
			return openedBody{task.Body{Size: f.size}, f}, nil
		},
		contentType: "multipart/form-data; boundary=" + boundary,
	}
}

// form reads a multipart body, piece after piece; at most one file is open.
type form struct {
	pieces []piece
	size   int64

	next int       // the piece after the current
	cur  io.Reader // nil: open the next
	file *os.File  // the current piece's, else nil
}

// piece is a run of bytes of a form: text, or a file's content.
type piece struct {
	text   string
	path   string      // absolute; empty: text
	source fs.FileInfo // what the file was when it was laid out
}

// layOut makes the form of its parts, and looks at their files.
func layOut(parts []Part, boundary string) (*form, error) {
	f := new(form)
	var text strings.Builder
	for _, p := range parts {
		if strings.ContainsAny(p.contentType, "\r\n") {
			return nil, &Error{Op: "lay out form", Code: ErrUnknown,
				Err: fmt.Errorf("field %q: its content type has a line break", p.name)}
		}
		fmt.Fprintf(&text, "--%s\r\nContent-Disposition: form-data; name=\"%s\"", boundary, escapeQuoted.Replace(p.name))
		if p.contentType != "" {
			fmt.Fprintf(&text, "; filename=\"%s\"\r\nContent-Type: %s", escapeQuoted.Replace(p.filename), p.contentType)
		}
		text.WriteString("\r\n\r\n")
		if p.fromFile {
			abs, info, err := statSource("open form file", p.path)
			if err != nil {
				return nil, err
			}
			f.add(piece{text: text.String()}, piece{path: abs, source: info})
			text.Reset()
		} else {
			text.WriteString(p.data)
		}
		text.WriteString("\r\n")
	}
	fmt.Fprintf(&text, "--%s--\r\n", boundary)
	f.add(piece{text: text.String()})
	return f, nil
}

func (f *form) add(pieces ...piece) {
	for _, p := range pieces {
		if p.path != "" {
			f.size += p.source.Size()
		} else {
			f.size += int64(len(p.text))
		}
		f.pieces = append(f.pieces, p)
	}
}

// escapeQuoted makes a name fit between quotes, as browsers do (WHATWG HTML, "multipart/form-data encoding algorithm").
var escapeQuoted = strings.NewReplacer("\"", "%22", "\r", "%0D", "\n", "%0A")

func (f *form) Read(b []byte) (int, error) {
	for {
		if f.cur == nil {
			if f.next == len(f.pieces) {
				return 0, io.EOF
			}
			if err := f.open(f.pieces[f.next]); err != nil {
				return 0, err
			}
			f.next++
		}
		n, err := f.cur.Read(b)
		if err == io.EOF {
			err = f.closePiece()
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// open begins a piece. A file must be the one that was laid out, since the form's size was told.
func (f *form) open(p piece) error {
	if p.path == "" {
		f.cur = strings.NewReader(p.text)
		return nil
	}
	file, err := os.Open(p.path)
	if err != nil {
		return sourceChanged(p.path, withoutPath(err))
	}
	if err := sameSource(file, p.source); err != nil {
		file.Close()
		return sourceChanged(p.path, err)
	}
	f.file, f.cur = file, io.LimitReader(file, p.source.Size())
	return nil
}

// closePiece ends the current piece. A file that was changed while it was read is an error: what was sent may be neither
// the old content nor the new.
func (f *form) closePiece() error {
	f.cur = nil
	if f.file == nil {
		return nil
	}
	file, p := f.file, f.pieces[f.next-1]
	f.file = nil
	defer file.Close()
	if at, err := file.Seek(0, io.SeekCurrent); err == nil && at != p.source.Size() {
		return sourceChanged(p.path, fmt.Errorf("it has %d bytes, and had %d", at, p.source.Size()))
	}
	if err := sameSource(file, p.source); err != nil {
		return sourceChanged(p.path, err)
	}
	return nil
}

// Rewind begins anew, for a retry or a redirect that keeps the body.
func (f *form) Rewind() (io.Reader, error) {
	f.Close()
	return &form{pieces: f.pieces, size: f.size}, nil
}

// Close closes the file that is open.
func (f *form) Close() error {
	f.cur, f.next = nil, len(f.pieces)
	if f.file == nil {
		return nil
	}
	file := f.file
	f.file = nil
	return file.Close()
}

func sameSource(file *os.File, want fs.FileInfo) error {
	got, err := file.Stat()
	switch {
	case err != nil:
		return withoutPath(err)
	case !os.SameFile(got, want):
		return errors.New("another file has taken its name since the task was created")
	case got.Size() != want.Size():
		return fmt.Errorf("it has %d bytes, and had %d when the task was created", got.Size(), want.Size())
	case !got.ModTime().Equal(want.ModTime()):
		return errors.New("it was written to since the task was created")
	}
	return nil
}

func sourceChanged(path string, err error) error {
	return &task.Error{Op: "read form file", URL: path, Code: task.SourceChanged, Err: err}
}
