package transfer

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/urlsession/urlsession/internal/task"
)

// tusServer is what a server of tus can do, by its answer to OPTIONS at the creation URL (§ OPTIONS). The zero value is
// one that has told nothing, of which creation is asked in its plainest form.
type tusServer struct {
	told       bool     // it speaks tus
	extensions []string // that it has
	checksum   *tusChecksum
	maxSize    int64 // of an upload; 0: not told
}

func (s *tusServer) has(extension string) bool { return slices.Contains(s.extensions, extension) }

// terminates says whether an upload may be deleted: where that is unknown, too.
func (s *tusServer) terminates() bool { return s == nil || !s.told || s.has("termination") }

// askTus finds out what the server of the task's URL can do, once an attempt. An answer that is not of a tus server is no error: the
// creation will tell. A response is one for want of credentials. A redirect is not followed.
func (u *upload) askTus() (*http.Response, error) {
	req := u.begin(u.req, uploadRequest{creation: true, stays: true})
	req.Method = http.MethodOptions
	for name := range req.Header {
		if ofTarget(name) {
			delete(req.Header, name)
		}
	}
	resp, err := u.send(u.rt, req)
	if err != nil {
		return nil, unapplied(err)
	}
	if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusProxyAuthRequired {
		return resp, nil
	}
	_, _ = io.CopyN(io.Discard, resp.Body, smallestBuffer) // or its connection is not used again
	resp.Body.Close()
	u.tus = tusServerOf(resp)
	return nil, nil
}

func tusServerOf(resp *http.Response) *tusServer {
	s := new(tusServer)
	if resp.StatusCode/100 != 2 || !slices.Contains(listed(resp.Header, "Tus-Version"), tusVersion) {
		return s
	}
	s.told = true
	s.extensions = listed(resp.Header, "Tus-Extension")
	if s.has("checksum") {
		s.checksum = bestChecksum(listed(resp.Header, "Tus-Checksum-Algorithm"))
	}
	if n, err := strconv.ParseUint(resp.Header.Get("Tus-Max-Size"), 10, 63); err == nil {
		s.maxSize = int64(n)
	}
	return s
}

// listed are the members of a field that is a list.
func listed(h http.Header, name string) (list []string) {
	for _, line := range h.Values(name) {
		for member := range strings.SplitSeq(line, ",") {
			list = append(list, strings.TrimSpace(member))
		}
	}
	return list
}

// unapplied is err of a request that makes nothing which could be taken for the upload.
func unapplied(err error) error {
	if e, ok := err.(*task.Error); ok {
		c := *e
		c.Unsent = true
		return &c
	}
	return err
}
