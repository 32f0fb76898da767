package transfer

import (
	"net/http"
	"strings"

	"github.com/urlsession/urlsession/internal/task"
)

// support is what a server has said of uploads that resume.
type support struct {
	version interop // 0: it has not said that it knows them
	limits  uploadLimits
}

// createEmpty makes the upload by a request without content, where the server has said that it knows such ("careful upload
// creation" of draft-ietf-httpbis-resumable-upload): the upload has a name and limits before anything of the body leaves, and
// that in a final answer, which no proxy swallows. Neither a response nor an error, and no state: it is not to be had this way.
func (u *upload) createEmpty() (*http.Response, error) {
	if u.known() != nil || u.asked() != task.ResumableIETF || u.size == 0 {
		return nil, nil
	}
	if u.support == nil {
		s, err := u.askSupport()
		if err != nil {
			return nil, unmade(err)
		}
		u.support = &s
	}
	v, limits := u.support.version, u.support.limits
	switch {
	case v == 0:
		return nil, nil
	case limits.forbid(u.size):
		return nil, u.tooLong(limits)
	}
	req := u.begin(u.req, uploadRequest{offered: v, creation: true, stays: true})
	req.Header.Del("Expect")
	v.create(req.Header, u.size, false)
	u.wantDigest(req.Header)
	resp, err := u.exchange(u.rt, req, u.body)
	if err != nil {
		if u.known() == nil {
			return nil, unmade(err)
		}
		return nil, u.interrupted(err)
	}
	if status := resp.StatusCode; u.known() == nil && (status/100 == 3 || status == http.StatusBadRequest || status == http.StatusPreconditionFailed) {
		resp.Body.Close()
		u.support.version = 0
		return nil, nil
	}
	if resp, err = u.judge(resp); u.known() != nil && u.known().MaxAppend == 0 {
		u.learn(limits)
	}
	return resp, err
}

// askSupport asks the target for the versions that it may know. A server tells that for the version that it is asked
// for, so that there are up to three requests. One that is refused or redirected is one that has said nothing.
func (u *upload) askSupport() (support, error) {
	for v := interop(8); v >= 6; {
		resp, err := u.options(v)
		if err != nil {
			return support{}, err
		}
		resp.Body.Close()
		status := resp.StatusCode
		named, ok := integer(resp.Header, interopField)
		switch {
		case status/100 == 2 && (!ok || interop(named) == v) && v.offered(resp.Header):
			l := v.limits(resp.Header)
			return support{v, uploadLimits{maxSize: l.maxSize, maxAppend: l.maxAppend}}, nil
		case status/100 != 2 && status != http.StatusBadRequest && status != http.StatusPreconditionFailed:
			return support{}, nil
		case named >= 6 && interop(named) < v: // as swift-nio names its own where it refuses
			v = interop(named)
		case resp.Header.Get("Tus-Version") != "": // tusd, which speaks 6
			v = min(v-1, 6)
		default:
			v--
		}
	}
	return support{}, nil
}

// options asks the target by OPTIONS.
func (u *upload) options(v interop) (*http.Response, error) {
	req := u.begin(u.req, uploadRequest{stays: true})
	req.Method = http.MethodOptions
	for name := range req.Header {
		if ofTarget(name) {
			delete(req.Header, name)
		}
	}
	v.announce(req.Header)
	return u.send(u.rt, req)
}

// offered says whether an answer to OPTIONS offers uploads of this version. A media range is no offer.
func (v interop) offered(h http.Header) bool {
	if v < 8 {
		return hasField(h, limitField)
	}
	for _, line := range h.Values("Accept-Patch") {
		for media := range strings.SplitSeq(line, ",") {
			media, _, _ = strings.Cut(media, ";")
			if strings.EqualFold(trimOWS(media), partialUpload) {
				return true
			}
		}
	}
	return false
}

// unmade is err of a request which has nothing of the body, and by which nothing was made that anybody knows.
func unmade(err error) error {
	e, ok := err.(*task.Error)
	if !ok {
		return err
	}
	c := *e
	c.Unsent = true
	return &c
}
