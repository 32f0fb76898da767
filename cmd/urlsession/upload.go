package main

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/urlsession/urlsession"
)

// uploadFlags are those of upload beside the shared ones.
type uploadFlags struct {
	sharedFlags
	bodyFlags
	method string
	resume string // a file; empty: none
}

func newUpload() *cobra.Command {
	f := new(uploadFlags)
	cmd := &cobra.Command{
		Use:   "upload [flags] FILE URL | -F name=@file URL | -d text URL",
		Short: "Upload a file, standard input (-), a form or a text",
		Long: `Upload a file, standard input (-), a form or a text.

A file is sent by PUT, to the URL as it is, or under the file's name where the URL ends in a slash; -F and -d are sent by
POST. The response's body is not shown: urlsession data shows it.

An upload that is cut goes on from what the server has, where the server speaks the IETF's protocol for that, or tus (--resumable).
Interrupted, it is dropped there; with --resume FILE it is not, and the same command goes on.

With --session ID the daemon does it: a file is read by it, and must stay as it is; anything else is copied to it first.`,
		Example: `  urlsession upload film.mov https://example.com/films/
  tar cz folder | urlsession upload - https://example.com/folder.tar.gz
  urlsession upload -F title=Film -F file=@film.mov https://example.com/films`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	p := cmd.Flags()
	p.SortFlags = false
	p.StringVarP(&f.method, "request", "X", "", "send by `METHOD`: PUT, POST or PATCH")
	f.bodyFlags.register(cmd)
	f.sharedFlags.register(cmd)
	p.StringVar(&f.resumable, "resumable", "auto", "go on with an upload that was cut by `METHOD`: auto, ietf, tus or no")
	p.StringVar(&f.resume, "resume", "", "keep in `FILE` what an interrupted or failed upload goes on from, and go on from what is there")
	return cmd
}

func (f *uploadFlags) run(cmd *cobra.Command, args []string) error {
	if err := f.prepare(cmd, args); err != nil {
		return err
	}
	std := stdio{cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()}
	request, err := f.request(args, std.in)
	if err != nil {
		return err
	}
	target := request.URL
	header, err := readHeaders(f.headers, std.in)
	if err != nil {
		return err
	}
	user, err := f.login(header, []string{target})
	if err != nil {
		return err
	}
	if ct := request.Header.Get("Content-Type"); ct != "" && len(header["Content-Type"]) == 0 {
		header.Set("Content-Type", ct)
	}
	f.decorate(&request, header)
	request.Resumable = f.how()
	if request.URL, err = user.authorize(target); err != nil {
		return usageError{err}
	}
	j := job{item: item{url: target}, start: func(ctx context.Context, s *urlsession.Session) (*urlsession.Task, error) {
		return s.UploadTask(ctx, request)
	}}
	if cmd.Flags().Changed("resume") {
		if j.resume, err = f.resumeFrom(args, request); err != nil {
			return err
		}
		j.start = func(ctx context.Context, s *urlsession.Session) (*urlsession.Task, error) {
			return j.resume.start(ctx, s, request)
		}
	}
	if f.session != "" {
		return f.inBackground(cmd, std, single(j))
	}
	r, err := f.open(std, 6, nil)
	if err != nil {
		return err
	}
	return r.all(single(j), 1)
}

// resumeFrom is --resume, of an upload that can be gone on from: that of one file, in this process.
func (f *uploadFlags) resumeFrom(args []string, request urlsession.Request) (*resumeFile, error) {
	if f.resume == "" {
		return nil, usagef("--resume needs a file's name")
	}
	if f.session != "" {
		return nil, usagef("--resume and --session: the daemon goes on with an upload by itself")
	}
	if f.given() || len(args) != 2 {
		return nil, usagef("--resume goes on with the upload of one FILE alone")
	}
	if info, err := os.Stat(args[0]); args[0] == "-" || err == nil && !info.Mode().IsRegular() {
		return nil, usagef("--resume needs a regular file, which is still there when the upload goes on")
	}
	if f.resumable == "no" {
		return nil, usagef("--resume and --resumable no contradict each other")
	}
	return openResumeFile(f.resume, args[0], request.URL)
}

// request is method, URL, body and the body's Content-Type.
func (f *uploadFlags) request(args []string, in io.Reader) (urlsession.Request, error) {
	var none urlsession.Request
	if f.method != "" && !slices.Contains([]string{http.MethodPut, http.MethodPost, http.MethodPatch}, f.method) {
		return none, usagef("-X %s: an upload is sent by PUT, POST or PATCH; urlsession data has other methods", f.method)
	}
	if f.given() {
		if len(args) != 1 {
			return none, usagef("with -F or -d an upload takes one URL and no FILE")
		}
		body, contentType, err := f.body(in)
		if err != nil {
			return none, err
		}
		request := urlsession.Post(args[0], body)
		if contentType != "" {
			request.Header = http.Header{"Content-Type": {contentType}}
		}
		return f.by(request), nil
	}
	if len(args) != 2 {
		return none, usagef("an upload takes FILE and URL, or one URL with -F or -d")
	}
	file, target := args[0], args[1]
	if file == "-" {
		if slices.Contains(f.headers, "@-") {
			return none, usagef("the upload of - and -H @- would both read standard input")
		}
		return f.by(urlsession.Put(target, urlsession.Stream(in, -1, nil))), nil
	}
	body, err := fileBody(file)
	if err != nil {
		return none, err
	}
	request := f.by(urlsession.Put(target, body))
	if request.Method == http.MethodPut {
		request.URL = withName(target, file)
	}
	return request, nil
}

// how is --resumable.
func (f *uploadFlags) how() urlsession.Resumable {
	switch f.resumable {
	case "ietf":
		return urlsession.ResumableIETF
	case "tus":
		return urlsession.ResumableTus
	case "no":
		return urlsession.ResumableNo
	}
	return urlsession.ResumableAuto
}

// by is the request, sent by the method of -X.
func (f *uploadFlags) by(r urlsession.Request) urlsession.Request {
	if f.method != "" {
		r.Method = f.method
	}
	return r
}

// withName is the URL with the file's name added where its path ends in a slash, as curl -T does.
func withName(target, file string) string {
	u, err := url.Parse(target)
	if err != nil || u.Host == "" || u.Opaque != "" || !strings.HasSuffix(u.Path, "/") {
		return target
	}
	return u.JoinPath(url.PathEscape(filepath.Base(file))).String()
}
