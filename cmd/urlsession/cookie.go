package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/urlsession/urlsession"
)

func newCookie() *cobra.Command {
	cmd := group("cookie", "List the cookies of a session, an application or a cookies.txt, and edit them", "list, import, export or remove")
	w := new(whoseCookies)
	p := cmd.PersistentFlags()
	p.StringVar(&w.session, "session", "", "those of the background session `ID`")
	p.StringVar(&w.application, "application", "", "those of the default sessions of the application `NAME`")
	p.StringVar(&w.jar, "cookie-jar", "", "those of `FILE`, a cookies.txt")
	cmd.AddCommand(newCookieList(w), newCookieImport(w), newCookieExport(w), newCookieRemove(w))
	return cmd
}

// whoseCookies says which storage is meant: the command has none of its own.
type whoseCookies struct{ session, application, jar string }

// with calls do with the storage, when it knows what the daemon does, and makes durable what do has changed.
func (w *whoseCookies) with(cmd *cobra.Command, do func(*urlsession.CookieStorage) error) error {
	n := 0
	for _, name := range []string{"session", "application", "cookie-jar"} {
		if f := cmd.Flags().Lookup(name); f.Changed {
			n++
			if err := named(cmd, name); err != nil {
				return err
			}
		}
	}
	if n != 1 {
		return usagef("say whose cookies are meant by one of --session ID, --application NAME and --cookie-jar FILE")
	}
	if w.session != "" {
		return withSession(cmd, w.session, func(ctx context.Context, s *urlsession.Session) error {
			if err := s.Flush(ctx); err != nil {
				return err
			}
			return then(do(s.CookieStorage()), func() error { return s.Flush(ctx) })
		})
	}
	storage, err := w.open()
	if err != nil {
		return usageError{err}
	}
	return then(do(storage), func() error { return storage.Flush(cmd.Context()) })
}

// named refuses flags that are given without a name.
func named(cmd *cobra.Command, flags ...string) error {
	for _, name := range flags {
		if f := cmd.Flags().Lookup(name); f.Changed && f.Value.String() == "" {
			return usagef("--%s needs a name", name)
		}
	}
	return nil
}

// then goes on where there is no error, or one that has been reported of some cookies.
func then(err error, on func() error) error {
	if err == nil || errors.Is(err, errFailed) {
		if failed := on(); failed != nil {
			return failed
		}
	}
	return err
}

func (w *whoseCookies) open() (*urlsession.CookieStorage, error) {
	if w.jar != "" {
		return urlsession.OpenCookieFile(w.jar)
	}
	return urlsession.ApplicationCookieStorage(w.application)
}

func newCookieList(w *whoseCookies) *cobra.Command {
	var asJSON, values bool
	cmd := &cobra.Command{
		Use:   "list [DOMAIN|URL]",
		Short: "List the cookies, of all hosts, of a domain, or those that a URL is sent, without their values",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			which, err := cookiesOf(args)
			if err != nil {
				return err
			}
			var cookies []urlsession.Cookie
			err = w.with(cmd, func(s *urlsession.CookieStorage) error {
				cookies = which(s)
				return nil
			})
			if err != nil {
				return err
			}
			if !asJSON {
				return listCookies(cmd.OutOrStdout(), cookies, values)
			}
			for _, c := range cookies {
				if err := writeError(writeJSON(cmd.OutOrStdout(), cookieJSON(c, values))); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	cmd.Flags().BoolVar(&values, "values", false, "show the values too: whoever sees them can act for you")
	return cmd
}

// cookiesOf says which cookies an argument means; none: all.
func cookiesOf(args []string) (func(*urlsession.CookieStorage) []urlsession.Cookie, error) {
	if len(args) == 0 {
		return (*urlsession.CookieStorage).All, nil
	}
	if !strings.Contains(args[0], "://") {
		domain, err := domainOf(args[0])
		return func(s *urlsession.CookieStorage) []urlsession.Cookie { return s.OfDomain(domain) }, err
	}
	if hasPassword(args[0]) {
		return nil, usagef("%s: a password does not belong in an argument, which ps shows; cookies do not need it", redact(args[0]))
	}
	u, err := url.Parse(args[0])
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, usagef("%s: it is no URL that has cookies, such as https://example.com/folder/", redact(args[0]))
	}
	return func(s *urlsession.CookieStorage) []urlsession.Cookie { return s.For(u) }, nil
}

func domainOf(arg string) (string, error) {
	if strings.Trim(arg, ".") == "" || strings.ContainsAny(arg, "/@? ") {
		return "", usagef("%s: it is no domain, such as example.com", redact(arg))
	}
	return arg, nil
}

func listCookies(out io.Writer, cookies []urlsession.Cookie, values bool) error {
	head := []string{"DOMAIN", "PATH", "NAME", "EXPIRES", "FLAGS"}
	if values {
		head = append(head, "VALUE")
	}
	t := newTable(out, head...)
	for _, c := range cookies {
		row := []string{c.Domain, c.Path, c.Name, "with the process", cookieFlags(c)}
		if !c.HostOnly {
			row[0] = "." + c.Domain // as cookies.txt has it
		}
		if !c.Expires.IsZero() {
			row[3] = formatMoment(c.Expires)
		}
		if values {
			row = append(row, c.Value)
		}
		if err := t.add(row...); err != nil {
			return err
		}
	}
	return t.flush()
}

func cookieFlags(c urlsession.Cookie) string {
	var flags []string
	if c.Secure {
		flags = append(flags, "secure")
	}
	if c.HTTPOnly {
		flags = append(flags, "httponly")
	}
	if same := sameSites[c.SameSite]; same != "" {
		flags = append(flags, "samesite="+same)
	}
	if flags == nil {
		return "-"
	}
	return strings.Join(flags, ",")
}

func newCookieImport(w *whoseCookies) *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE|-",
		Short: "Take the cookies of a cookies.txt, as browsers' extensions, curl and wget write it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, name := cmd.InOrStdin(), "standard input"
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return usagef("import: %w", err)
				}
				defer f.Close()
				in, name = f, args[0]
			}
			n := 0
			err := w.with(cmd, func(s *urlsession.CookieStorage) (err error) {
				n, err = s.Import(in)
				for _, left := range each(err) {
					fmt.Fprintln(cmd.ErrOrStderr(), oneLine("urlsession: "+name+": "+left.Error()))
					err = errFailed
				}
				if fleeting := w.fleeting(s); fleeting > 0 {
					fmt.Fprintf(cmd.ErrOrStderr(), "urlsession: %s: %s without an expiry, which the process that got it does not outlive: not taken\n", name, cookies(fleeting))
					n, err = n-fleeting, errFailed
				}
				return err
			})
			return then(err, func() error { return say(cmd, "imported", n) })
		},
	}
}

// fleeting counts the cookies without an expiry, which end with this command, but in a cookies.txt.
func (w *whoseCookies) fleeting(s *urlsession.CookieStorage) (n int) {
	if w.jar != "" {
		return 0
	}
	for _, c := range s.All() {
		if c.Expires.IsZero() {
			n++
		}
	}
	return n
}

// each are the errors that one joins, or itself.
func each(err error) []error {
	if e, ok := errors.AsType[*urlsession.Error](err); ok {
		if many, ok := e.Err.(interface{ Unwrap() []error }); ok {
			return many.Unwrap()
		}
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

func newCookieExport(w *whoseCookies) *cobra.Command {
	var replace bool
	cmd := &cobra.Command{
		Use:   "export FILE|-",
		Short: "Write the cookies, with their values, as a cookies.txt",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return w.with(cmd, func(s *urlsession.CookieStorage) error {
				if args[0] == "-" {
					return s.Export(cmd.OutOrStdout())
				}
				return exportCookies(cmd.Context(), s, args[0], replace)
			})
		},
	}
	cmd.Flags().BoolVar(&replace, "replace", false, "replace FILE if it is a cookies.txt")
	return cmd
}

// exportCookies writes a cookies.txt, whole or not at all, which is nobody else's to read.
func exportCookies(ctx context.Context, s *urlsession.CookieStorage, path string, replace bool) error {
	if _, err := os.Lstat(path); err == nil && !replace {
		return usagef("%s exists; --replace replaces a cookies.txt", path)
	}
	all := s.All()
	if len(all) == 0 {
		return failedf("there are no cookies to export")
	}
	file, err := urlsession.OpenCookieFile(path)
	if err != nil {
		return err
	}
	if err := file.Reset(ctx); err != nil {
		return err
	}
	for _, c := range all {
		if err := file.Set(c); err != nil {
			return err
		}
	}
	return file.Flush(ctx)
}

func newCookieRemove(w *whoseCookies) *cobra.Command {
	return &cobra.Command{
		Use:   "remove DOMAIN",
		Short: "Remove the cookies of a domain and of all below it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			domain, err := domainOf(args[0])
			if err != nil {
				return err
			}
			n := 0
			err = w.with(cmd, func(s *urlsession.CookieStorage) error {
				n = s.RemoveDomain(domain)
				return nil
			})
			return then(err, func() error { return say(cmd, "removed", n) })
		},
	}
}

// say says what was done to how many.
func say(cmd *cobra.Command, done string, n int) error {
	_, err := fmt.Fprintln(cmd.OutOrStdout(), cookies(n), done)
	return writeError(err)
}

func cookies(n int) string {
	if n == 1 {
		return "1 cookie"
	}
	return fmt.Sprint(n, " cookies")
}
