package main

import (
	"errors"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/urlsession/urlsession"
)

func newCache() *cobra.Command {
	cmd := group("cache", "List or clear the responses that data --cache, or an application, keeps", "show or clear")
	cmd.AddCommand(newCacheShow(), newCacheClear())
	return cmd
}

// cacheCommand is a command on the cache of an application.
func cacheCommand(use, short string, do func(cmd *cobra.Command, cache *urlsession.URLCache, urls []string) error) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := refuseSecretArguments(cmd.Flags(), args); err != nil {
				return err
			}
			if err := named(cmd, "application"); err != nil {
				return err
			}
			cache, err := urlsession.ApplicationURLCache(name)
			if err != nil {
				return usageError{err}
			}
			return do(cmd, cache, args)
		},
	}
	cmd.Flags().StringVar(&name, "application", application, "those of the default sessions of the application `NAME`")
	return cmd
}

func newCacheShow() *cobra.Command {
	var asJSON bool
	cmd := cacheCommand("show [URL...]", "List the responses that are kept, of all URLs or of these", func(cmd *cobra.Command, cache *urlsession.URLCache, urls []string) error {
		all, err := cache.Entries(urls...)
		if err != nil {
			return ofURLs(err)
		}
		out := cmd.OutOrStdout()
		t := newTable(out, "STATUS", "BODY", "STORED", "FRESH UNTIL", "USED", "URL")
		for _, r := range all {
			if asJSON {
				if err := writeError(writeJSON(out, cachedJSON(r))); err != nil {
					return err
				}
				continue
			}
			fresh := "-"
			if r.FreshUntil.After(r.Stored) {
				fresh = formatMoment(r.FreshUntil)
			}
			if err := t.add(strconv.Itoa(r.StatusCode), formatSize(r.Length), formatMoment(r.Stored), fresh, formatMoment(r.Used), redact(r.URL)); err != nil {
				return err
			}
		}
		if asJSON {
			return nil
		}
		return t.flush()
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

func newCacheClear() *cobra.Command {
	return cacheCommand("clear [URL...]", "Remove the responses that are kept, of all URLs or of these", func(cmd *cobra.Command, cache *urlsession.URLCache, urls []string) error {
		if len(urls) == 0 {
			return cache.Reset(cmd.Context())
		}
		for _, u := range urls {
			if err := cache.Remove(u); err != nil {
				return ofURLs(err)
			}
		}
		return nil
	})
}

// ofURLs has an error be of the command line where a URL makes no sense.
func ofURLs(err error) error {
	if errors.Is(err, urlsession.ErrBadURL) || errors.Is(err, urlsession.ErrUnsupportedURL) {
		return usageError{err}
	}
	return err
}

// cachedJSON is a response that is kept, in JSON. Its URL is redacted.
func cachedJSON(r urlsession.CachedResponse) any {
	return struct {
		URL        string    `json:"url"`
		StatusCode int       `json:"statusCode"`
		Length     int64     `json:"contentLength"`
		Size       int64     `json:"size"`
		Vary       []string  `json:"vary,omitempty"`
		Stored     time.Time `json:"stored"`
		FreshUntil time.Time `json:"freshUntil,omitzero"`
		Used       time.Time `json:"used"`
	}{redact(r.URL), r.StatusCode, r.Length, r.Size, r.Vary, r.Stored, r.FreshUntil, r.Used}
}
