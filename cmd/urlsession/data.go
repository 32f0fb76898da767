package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/urlsession/urlsession"
)

// dataFlags are those of data beside the shared ones.
type dataFlags struct {
	sharedFlags
	bodyFlags
	conflict conflictFlags
	method   string
	output   string
}

func newData() *cobra.Command {
	f := new(dataFlags)
	cmd := &cobra.Command{
		Use:   "data [flags] URL",
		Short: "Send a request and print the response's body",
		Long: `Send a request and print the response's body, decoded, as it comes.

By default it is a GET, with -d or -F a POST. A status of 400 and above is a failure, whose body is not printed. With -o
FILE the body becomes a file when it is whole. With --json the body is in the events.

With --session ID the daemon does it, and the body, of at most 64 MiB, is printed when it is whole; with --detach it is not,
and stays with the task: sessioncompleted has it where it is text.`,
		Example: `  urlsession data https://api.example.com/status
  urlsession data -X DELETE https://api.example.com/items/7
  urlsession data -H 'Content-Type: application/json' -d @query.json https://api.example.com/search`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	p := cmd.Flags()
	p.SortFlags = false
	p.StringVarP(&f.method, "request", "X", "", "send by `METHOD`")
	f.bodyFlags.register(cmd)
	p.StringVarP(&f.output, "output", "o", "-", "write the body to `FILE`; - is standard output")
	f.conflict.register(cmd)
	f.sharedFlags.register(cmd)
	return cmd
}

func (f *dataFlags) run(cmd *cobra.Command, args []string) error {
	if err := f.prepare(cmd, args); err != nil {
		return err
	}
	switch {
	case len(args) != 1:
		return usagef("data takes one URL")
	case f.output == "":
		return usagef("-o needs a file's name")
	case f.detach && cmd.Flags().Changed("output") && isStream(f.output):
		return usagef("-o %s and --detach contradict each other: nobody is here to write the body when it has come", f.output)
	case f.method != "" && !isToken(f.method):
		return usagef("-X %q is no method (RFC 9110 §9.1)", f.method)
	case slices.Contains(f.data, "@-") && slices.Contains(f.headers, "@-"):
		return usagef("-d @- and -H @- would both read standard input")
	}
	std := stdio{cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()}
	header, err := readHeaders(f.headers, std.in)
	if err != nil {
		return err
	}
	request := urlsession.Get(args[0])
	if f.given() {
		body, contentType, err := f.body(std.in)
		if err != nil {
			return err
		}
		request = urlsession.Post(args[0], body)
		if contentType != "" && len(header["Content-Type"]) == 0 {
			header.Set("Content-Type", contentType)
		}
	}
	if f.method != "" {
		request.Method = f.method
	}
	user, err := f.login(header, args)
	if err != nil {
		return err
	}
	f.decorate(&request, header)
	if request.URL, err = user.authorize(request.URL); err != nil {
		return usageError{err}
	}
	j, err := f.job(request, std)
	if err != nil {
		return err
	}
	if f.session != "" {
		return f.inBackground(cmd, std, single(j))
	}
	r, err := f.open(std, 6, j.output)
	if err != nil {
		return err
	}
	return r.all(single(j), 1)
}

// job is the request as a streamed data task or, where its body becomes a file, as a download.
func (f *dataFlags) job(request urlsession.Request, std stdio) (job, error) {
	if f.detach && isStream(f.output) {
		return job{item: item{url: request.URL}, start: dataTask(request)}, nil
	}
	to, err := openOutput(f.output, std.out)
	if err != nil {
		return job{}, err
	}
	j := job{item: item{url: request.URL}, output: to}
	if to == nil {
		request.Conflict = f.conflict.conflict()
		j.download = &urlsession.Download{Request: request, Destination: f.output}
		return j, nil
	}
	if f.json && f.output == "-" {
		j.output = nil // standard output is the events', and the body is in them
	}
	request.Stream = f.session == "" // the daemon keeps the body until the task's end
	j.start = dataTask(request)
	return j, nil
}

func dataTask(request urlsession.Request) func(context.Context, *urlsession.Session) (*urlsession.Task, error) {
	return func(ctx context.Context, s *urlsession.Session) (*urlsession.Task, error) {
		return s.DataTask(ctx, request)
	}
}
