package main

import (
	"io"
	"iter"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/urlsession/urlsession"
)

// downloadFlags are those of download beside the shared ones.
type downloadFlags struct {
	sharedFlags
	input    string
	output   string
	checksum checksumFlag
	conflict conflictFlags
}

// conflictFlags say what happens when a file exists.
type conflictFlags struct{ replace, rename bool }

func (f *conflictFlags) register(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.replace, "replace", false, "replace an existing file, when the new one is whole")
	cmd.Flags().BoolVar(&f.rename, "rename", false, "take another name, \"name (1).ext\", when the file exists")
	cmd.MarkFlagsMutuallyExclusive("replace", "rename")
}

func (f *conflictFlags) conflict() urlsession.Conflict {
	switch {
	case f.replace:
		return urlsession.ConflictReplace
	case f.rename:
		return urlsession.ConflictRename
	}
	return urlsession.ConflictFail
}

func newDownload() *cobra.Command {
	f := new(downloadFlags)
	cmd := &cobra.Command{
		Use:   "download [flags] URL... | -i FILE|-",
		Short: "Download URLs into files",
		Long: `Download URLs into files, by default into the current folder under the names that the responses give.

What has arrived of a file stands beside it as NAME.KEY.part until it is whole. The same command again goes on from
there, unless the file has changed on the server: then it starts over. A file that exists is an error.

With --session ID the daemon does it, also when this command is gone; -j, times -x where that is given, is then the most connections a host.`,
		Example: `  urlsession download https://go.dev/dl/go1.26.0.src.tar.gz
  urlsession download -o go.tar.gz --checksum sha-256=HEX URL
  urlsession download -i list.txt -j 16 -o FOLDER/
  urlsession download -o - URL | tar xz
  urlsession download --session films --detach -i list.txt -o FOLDER/`,
		RunE: func(cmd *cobra.Command, urls []string) error { return f.run(cmd, urls) },
	}
	p := cmd.Flags()
	p.SortFlags = false
	p.StringVarP(&f.output, "output", "o", "", "write to `FILE`, into FOLDER/, or to standard output (-)")
	p.StringVarP(&f.input, "input", "i", "", "read URLs from `FILE` (- standard input), one a line, optionally a tab and a file name; # begins a comment")
	f.manyFlags.register(cmd, "a file")
	f.checksum.register(cmd)
	f.conflict.register(cmd)
	f.sharedFlags.register(cmd)
	return cmd
}

func (f *downloadFlags) run(cmd *cobra.Command, urls []string) error {
	if err := f.prepare(cmd, urls); err != nil {
		return err
	}
	if cmd.Flags().Changed("output") && f.output == "" {
		return usagef("-o needs a file's or folder's name")
	}
	if err := f.check(urls); err != nil {
		return err
	}
	std := stdio{cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()}
	items, closeItems, err := f.items(urls, std.in)
	if err != nil {
		return err
	}
	defer closeItems()
	header, err := readHeaders(f.headers, std.in)
	if err != nil {
		return err
	}
	user, err := f.login(header, urls)
	if err != nil {
		return err
	}
	if f.session != "" {
		if err := f.makeFolder(); err != nil {
			return err
		}
		return f.inBackground(cmd, std, f.jobs(items, header, user, nil))
	}
	to, err := f.destination(len(urls) == 1, std.out)
	if err != nil {
		return err
	}
	r, err := f.open(std, max(6, f.perHost()), to)
	if err != nil {
		return err
	}
	r.failFast = f.failFast
	if to == nil {
		r.hint = "; what has arrived is kept: the same command again goes on from there"
	}
	return r.all(f.jobs(items, header, user, to), f.parallel)
}

// check refuses flags that contradict each other.
func (f *downloadFlags) check(urls []string) error {
	one := len(urls) == 1
	switch {
	case len(urls) == 0 && f.input == "":
		return usagef("what is to be downloaded? give URLs, or a list of them by -i FILE")
	case len(urls) > 0 && f.input != "":
		return usagef("give URLs, or a list by -i, not both")
	case f.input == "-" && slices.Contains(f.headers, "@-"):
		return usagef("-i - and -H @- would both read standard input")
	case f.output == "-" && !one:
		return usagef("-o - takes one URL: standard output is one file")
	case f.output == "-" && f.json:
		return usagef("-o - and --json would both write to standard output")
	case f.output != "" && !one && !isFolder(f.output):
		return usagef("-o %s is one file, and there may be several URLs: name a folder, with a / at its end", f.output)
	case f.session != "" && one && isStream(f.output):
		return usagef("-o %s takes no file, and --session downloads into files: urlsession data --session prints a body", f.output)
	}
	if err := f.checksum.check(one, "URLs"); err != nil {
		return err
	}
	return f.manyFlags.check(f.session)
}

// isFolder says whether -o means a folder: it ends in a separator, or is one.
func isFolder(path string) bool {
	if os.IsPathSeparator(path[len(path)-1]) {
		return true
	}
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// items are what is to be downloaded, read as it is asked for.
func (f *downloadFlags) items(urls []string, in io.Reader) (items iter.Seq2[item, error], done func(), err error) {
	switch f.input {
	case "":
		return func(yield func(item, error) bool) {
			for _, u := range urls {
				if !yield(item{url: u}, nil) {
					return
				}
			}
		}, func() {}, nil
	case "-":
		return readList(in, "standard input"), func() {}, nil
	}
	list, err := os.Open(f.input)
	if err != nil {
		return nil, nil, usagef("-i: %w", err)
	}
	return readList(list, f.input), func() { list.Close() }, nil
}

// destination makes the folder of -o, or opens what it names where that is no file (see openOutput).
func (f *downloadFlags) destination(one bool, out io.Writer) (*output, error) {
	if f.output == "" {
		return nil, nil
	}
	if err := f.makeFolder(); err != nil || !one {
		return nil, err
	}
	o, err := openOutput(f.output, out)
	if o != nil && f.checksum != "" {
		return nil, usagef("--checksum is verified before a file gets its name, and %s is no file", o.name)
	}
	return o, err
}

// makeFolder makes the folder of -o, where it is named as one.
func (f *downloadFlags) makeFolder() error {
	if f.output == "" || !os.IsPathSeparator(f.output[len(f.output)-1]) {
		return nil
	}
	if err := os.MkdirAll(f.output, 0o777); err != nil {
		return usagef("-o: make the folder: %w", err)
	}
	return nil
}

// jobs turns items into jobs. to is where the one body goes that does not become a file, or nil.
func (f *downloadFlags) jobs(items iter.Seq2[item, error], header http.Header, user *login, to *output) iter.Seq2[job, error] {
	return func(yield func(job, error) bool) {
		for it, err := range items {
			var j job
			if err == nil {
				j, err = f.job(it, header, user, to)
			}
			if !yield(j, err) {
				return
			}
		}
	}
}

func (f *downloadFlags) job(it item, header http.Header, user *login, to *output) (job, error) {
	target, err := user.authorize(it.url)
	if err != nil {
		return job{}, it.wrap(err)
	}
	request := urlsession.Get(target)
	f.decorate(&request, header)
	if to != nil {
		request.Stream = true
		request.Header.Set("Accept-Encoding", "identity") // as a download asks: what comes is the file
		return job{item: it, output: to, start: dataTask(request)}, nil
	}
	request.Conflict = f.conflict.conflict()
	f.checksum.decorate(&request)
	return job{item: it, download: &urlsession.Download{Request: request, Destination: f.destinationOf(it)}}, nil
}

// destinationOf is where an item's file goes: with a name of its own into the folder of -o, else what -o says, else the
// current folder.
func (f *downloadFlags) destinationOf(it item) string {
	switch {
	case it.name != "":
		return filepath.Join(f.output, it.name)
	case f.output != "":
		return f.output
	}
	return "." + string(filepath.Separator)
}
