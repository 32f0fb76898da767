package main

import (
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urlsession/urlsession"
)

// fileJobs are the uploads of FILE... URL.
func (f *uploadFlags) fileJobs(args []string, std stdio) ([]job, error) {
	if len(args) < 2 {
		return nil, usagef("an upload takes FILE and URL, or one URL with -F or -d")
	}
	files, target := args[:len(args)-1], args[len(args)-1]
	if err := f.checkFiles(files, target); err != nil {
		return nil, err
	}
	if f.checksum != "" && f.session == "" && readOnce(files[0], std.in) {
		return nil, usagef("--checksum verifies before anything is sent, and %s is read once: give a FILE, or --session, which copies it first", oneLine(files[0]))
	}
	finish, err := f.finisher(target, std)
	if err != nil {
		return nil, err
	}
	jobs := make([]job, len(files))
	for i, file := range files {
		j := &jobs[i]
		j.item = item{url: f.urlOf(target, file)}
		body := urlsession.Stream(std.in, -1, nil)
		if file != "-" {
			if body, err = fileBody(file); err != nil {
				return nil, err
			}
		}
		if len(files) > 1 { // of which errors and progress say more than a URL that may be that of all
			j.where, j.name = oneLine(file), filepath.Base(file)
		}
		request := f.by(urlsession.Put(j.url, body))
		if err := finish(&request); err != nil {
			return nil, err
		}
		j.upload = &request
	}
	return jobs, nil
}

// checkFiles refuses files that cannot go to one URL together.
func (f *uploadFlags) checkFiles(files []string, target string) error {
	if err := f.checksum.check(len(files) == 1, "FILEs"); err != nil {
		return err
	}
	if slices.Contains(files, "-") && slices.Contains(f.headers, "@-") {
		return usagef("the upload of - and -H @- would both read standard input")
	}
	if len(files) == 1 {
		return nil
	}
	if f.named() && !isFolderURL(target) {
		return usagef("%s is where one file goes, and there are %d: give a URL that ends in a slash, and each goes under its name", redact(target), len(files))
	}
	first := make(map[string]string, len(files))
	for _, file := range files {
		name := filepath.Base(file)
		if other, again := first[name]; again && f.named() {
			return usagef("%s and %s would both be sent as %s: run them one by one", oneLine(other), oneLine(file), oneLine(name))
		}
		first[name] = file
		if file == "-" {
			return usagef("- is standard input, which has no name beside FILEs: upload it alone")
		}
		if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
			return usagef("%s is no regular file, and its name says nothing: upload it alone", oneLine(file))
		}
	}
	return nil
}

// readOnce says whether what is sent as file cannot be read a second time: a pipe, or a standard input that is one.
func readOnce(file string, in io.Reader) bool {
	if file != "-" {
		info, err := os.Stat(file)
		return err == nil && info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0
	}
	s, ok := in.(io.Seeker)
	if !ok {
		return true
	}
	_, err := s.Seek(0, io.SeekCurrent)
	return err != nil
}

// named says whether files go under their names in a URL that ends in a slash: PUT names what it makes, and for all else the
// server does.
func (f *uploadFlags) named() bool {
	return (f.method == "" || f.method == http.MethodPut) && f.how() != urlsession.ResumableTus
}

// urlOf is where a file goes.
func (f *uploadFlags) urlOf(target, file string) string {
	if file == "-" || !f.named() || !isFolderURL(target) {
		return target
	}
	u, err := url.Parse(target)
	if err != nil || u.Host == "" {
		return target // the session says what is wrong with it
	}
	return u.JoinPath(url.PathEscape(filepath.Base(file))).String()
}

// isFolderURL says whether the path ends in a slash, as curl -T has it. What is no URL may.
func isFolderURL(target string) bool {
	u, err := url.Parse(target)
	return err != nil || u.Host == "" || u.Opaque != "" || strings.HasSuffix(u.Path, "/")
}
