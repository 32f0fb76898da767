package main

import (
	"context"
	"net/http"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/urlsession/urlsession"
)

// uploadFlags are those of upload beside the shared ones.
type uploadFlags struct {
	sharedFlags
	bodyFlags
	method   string
	checksum checksumFlag
	plan     string // --multipart
	resume   string // a file; empty: none
}

func newUpload() *cobra.Command {
	f := new(uploadFlags)
	cmd := &cobra.Command{
		Use:   "upload [flags] FILE... URL | -F name=@file URL | -d text URL | --multipart PLAN FILE [URL]",
		Short: "Upload files, standard input (-), a form or a text",
		Long: `Upload files, standard input (-), a form or a text.

A file is sent by PUT, to the URL as it is, or under the file's name where the URL ends in a slash, as it must for several; by
another method and by tus each is sent to the URL itself. -F and -d are sent by POST. The response's body is not shown: urlsession
data shows it.

An upload that is cut goes on from what the server has, where the server speaks the IETF's protocol for that, or tus (--resumable).
Interrupted, it is dropped there; with --resume FILE it is not, and the same command goes on.

With --multipart a file goes in parts, side by side, to URLs that a store's owner has signed. PLAN is a JSON file, or - for
standard input: {"parts": [URL, …], "complete": URL, "abort": URL, "partSize": BYTES}. Without "complete" and URL the parts that are
there are printed as JSON, and whoever has the key completes the upload.

With --session ID the daemon does it: files are read by it, and must stay as they are; anything else is copied to it first.`,
		Example: `  urlsession upload film.mov https://example.com/films/
  urlsession upload -j 2 *.mov https://example.com/films/
  tar cz folder | urlsession upload - https://example.com/folder.tar.gz
  urlsession upload -F title=Film -F file=@film.mov https://example.com/films
  sign-parts film.mov | urlsession upload --multipart - film.mov`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	p := cmd.Flags()
	p.SortFlags = false
	p.StringVarP(&f.method, "request", "X", "", "send by `METHOD`: PUT, POST or PATCH")
	f.bodyFlags.register(cmd)
	p.StringVar(&f.plan, "multipart", "", "send the file in parts as `PLAN` says, a JSON file, or - for standard input")
	f.checksum.register(cmd)
	f.manyFlags.register(cmd, "take at most `N` connections a file that goes in parts (default: as many as its host may have)")
	f.sharedFlags.register(cmd)
	p.StringVar(&f.resumable, "resumable", "auto", "go on with an upload that was cut by `METHOD`: auto, ietf, tus or no")
	p.StringVar(&f.resume, "resume", "", "keep in `FILE` what an interrupted or failed upload goes on from, and go on from what is there")
	return cmd
}

func (f *uploadFlags) run(cmd *cobra.Command, args []string) error {
	changed := cmd.Flags().Changed // by the command line; after prepare by the config file, too
	inParts, onlyCompletes := changed("multipart"), changed("header") || changed("user")
	if inParts && (changed("request") || changed("resumable")) {
		return usagef("-X and --resumable are of no use with --multipart: parts are sent by PUT and completed by POST, and go on one by one")
	}
	if err := f.prepare(cmd, args); err != nil {
		return err
	}
	if err := f.check(inParts); err != nil {
		return err
	}
	if changed("resume") {
		if err := f.checkResume(args, inParts); err != nil {
			return err
		}
	}
	std := stdio{cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()}
	var jobs []job
	var err error
	switch {
	case inParts:
		jobs, err = f.partsJob(args, onlyCompletes, std)
	case f.given():
		jobs, err = f.bodyJob(args, std)
	default:
		jobs, err = f.fileJobs(args, std)
	}
	if err != nil {
		return err
	}
	if changed("resume") {
		if err := f.resumeFrom(args[0], &jobs[0]); err != nil {
			return err
		}
	}
	if f.session != "" {
		return f.inBackground(cmd, std, sequence(jobs))
	}
	r, err := f.open(std, max(6, f.perHost()), nil)
	if err != nil {
		return err
	}
	r.failFast = f.failFast
	return r.all(sequence(jobs), f.parallel)
}

// check refuses flags that contradict each other.
func (f *uploadFlags) check(inParts bool) error {
	switch {
	case f.method != "" && !slices.Contains([]string{http.MethodPut, http.MethodPost, http.MethodPatch}, f.method):
		return usagef("-X %s: an upload is sent by PUT, POST or PATCH; urlsession data has other methods", f.method)
	case inParts && f.plan == "":
		return usagef("--multipart needs the plan's file, or - for standard input")
	case inParts && f.bodyFlags.given():
		return usagef("--multipart sends a FILE, not what -F and -d say")
	case f.checksum != "" && f.bodyFlags.given():
		return usagef("--checksum verifies a FILE, not what -F and -d say")
	}
	return f.manyFlags.check(f.session)
}

// bodyJob is the upload of what -F or -d says.
func (f *uploadFlags) bodyJob(args []string, std stdio) ([]job, error) {
	if len(args) != 1 {
		return nil, usagef("with -F or -d an upload takes one URL and no FILE")
	}
	body, contentType, err := f.body(std.in)
	if err != nil {
		return nil, err
	}
	finish, err := f.finisher(args[0], std)
	if err != nil {
		return nil, err
	}
	request := f.by(urlsession.Post(args[0], body))
	if err := finish(&request); err != nil {
		return nil, err
	}
	if contentType != "" && len(request.Header["Content-Type"]) == 0 {
		request.Header.Set("Content-Type", contentType)
	}
	return []job{{item: item{url: args[0]}, upload: &request}}, nil
}

// finisher gives requests to the target's origin what the flags say of all of them. It reads the headers and asks for the
// password, once.
func (f *uploadFlags) finisher(target string, std stdio) (finish func(*urlsession.Request) error, err error) {
	header, err := readHeaders(f.headers, std.in)
	if err != nil {
		return nil, err
	}
	user, err := f.login(header, []string{target})
	if err != nil {
		return nil, err
	}
	return func(r *urlsession.Request) error {
		f.decorate(r, header)
		f.checksum.decorate(r)
		if r.Multipart == nil {
			r.Resumable = f.how()
		}
		authorized, err := user.authorize(r.URL)
		if err != nil {
			return usageError{err}
		}
		r.URL = authorized
		return nil
	}, nil
}

// checkResume refuses --resume of what cannot be gone on from: all but the upload of one file, in this process.
func (f *uploadFlags) checkResume(args []string, inParts bool) error {
	if f.resume == "" {
		return usagef("--resume needs a file's name")
	}
	if f.session != "" {
		return usagef("--resume and --session: the daemon goes on with an upload by itself")
	}
	if inParts {
		return usagef("--resume and --multipart: what of an upload in parts is there is printed, for the next plan")
	}
	if f.given() || len(args) != 2 {
		return usagef("--resume goes on with the upload of one FILE alone")
	}
	if info, err := os.Stat(args[0]); args[0] == "-" || err == nil && !info.Mode().IsRegular() {
		return usagef("--resume needs a regular file, which is still there when the upload goes on")
	}
	if f.resumable == "no" {
		return usagef("--resume and --resumable no contradict each other")
	}
	return nil
}

// resumeFrom is --resume: the job goes on from what its file holds, and keeps there what the next goes on from.
func (f *uploadFlags) resumeFrom(file string, j *job) error {
	request := *j.upload
	resume, err := openResumeFile(f.resume, file, request.URL)
	if err != nil {
		return err
	}
	j.resume, j.upload = resume, nil
	j.start = func(ctx context.Context, s *urlsession.Session) (*urlsession.Task, error) {
		return resume.start(ctx, s, request)
	}
	return nil
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
