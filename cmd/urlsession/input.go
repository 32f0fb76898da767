package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// item is one line of a list, or one URL of the command line.
type item struct {
	url   string
	name  string // the file's name; empty: the response's
	where string // "FILE:LINE"; empty: the command line
}

// wrap says which item an error is of.
func (it item) wrap(err error) error {
	if it.where == "" {
		return fmt.Errorf("%s: %w", redact(it.url), err)
	}
	return fmt.Errorf("%s: %s: %w", it.where, redact(it.url), err)
}

// maxLine bounds a list's line, so that a list of any size is read in little memory.
const maxLine = 64 << 10

// readList yields the items of a list as they are asked for: a URL a line, optionally a tab and a file name; lines that
// are empty or begin with # are passed over; a line may end in CRLF. name is what errors call the list. A bad line is
// yielded as an error that begins with NAME:LINE, and the next lines go on; a failed read is the last.
func readList(r io.Reader, name string) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		lines := bufio.NewReaderSize(r, maxLine)
		for n := 1; ; n++ {
			where := fmt.Sprintf("%s:%d", name, n)
			line, err := lines.ReadSlice('\n')
			if errors.Is(err, bufio.ErrBufferFull) {
				if err = skipLine(lines); err == nil || errors.Is(err, io.EOF) {
					if !yield(item{}, fmt.Errorf("%s: the line is longer than %d bytes", where, maxLine)) {
						return
					}
				}
				line = nil
			}
			if err != nil && !errors.Is(err, io.EOF) {
				yield(item{}, fmt.Errorf("%s: cannot read the list: %w", where, err))
				return
			}
			if n == 1 {
				line = bytes.TrimPrefix(line, []byte("\uFEFF"))
			}
			if it, ok, bad := parseLine(line); bad != nil {
				if !yield(item{}, fmt.Errorf("%s: %w", where, bad)) {
					return
				}
			} else if ok {
				it.where = where
				if !yield(it, nil) {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
}

// skipLine reads on to the end of the line.
func skipLine(r *bufio.Reader) error {
	for {
		_, err := r.ReadSlice('\n')
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// parseLine reads one line of a list; ok is false for an empty line or a comment. Whether the URL is one is for the
// session to say.
func parseLine(line []byte) (it item, ok bool, err error) {
	line = bytes.TrimRight(line, "\r\n")
	if !utf8.Valid(line) {
		return item{}, false, errors.New("the line is not UTF-8 text")
	}
	url, name, tabbed := strings.Cut(string(line), "\t")
	url, name = strings.TrimSpace(url), strings.TrimSpace(name)
	if strings.HasPrefix(url, "#") || url == "" && name == "" {
		return item{}, false, nil
	}
	switch {
	case url == "":
		return item{}, false, errors.New("a line begins with a URL, not with a tab")
	case tabbed && name != "":
		if err := checkName(name); err != nil {
			return item{}, false, err
		}
	}
	return item{url: url, name: name}, true, nil
}

// checkName refuses a file name that would leave the folder, or that is none: a list may come from elsewhere.
func checkName(name string) error {
	switch {
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("the file name %q holds a control character", name)
	case !filepath.IsLocal(name) || filepath.Clean(name) == "." || strings.HasSuffix(name, "/"):
		return fmt.Errorf("the file name %q is no name within the folder; choose the folder by -o FOLDER/", name)
	}
	return nil
}
