package background

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"

	"github.com/urlsession/urlsession"
)

// tortureProtocols are those of the torture's uploads, beside the plain PUT. Each has a server of its own.
var tortureProtocols = []protocol{
	{Name: "auto", How: urlsession.ResumableAuto, Method: http.MethodPut},
	{Name: "ietf 8", How: urlsession.ResumableIETF, Method: http.MethodPost, Version: 8},
	{Name: "ietf 6", How: urlsession.ResumableIETF, Method: http.MethodPut, Version: 6},
	{Name: "ietf 3", How: urlsession.ResumableIETF, Method: http.MethodPut, Version: 3},
	{Name: "ietf, to tusd", How: urlsession.ResumableIETF, Method: http.MethodPost, Tusd: true},
	{Name: "tus", How: urlsession.ResumableTus, Method: http.MethodPost, Tusd: true},
}

// uploadRate is the most that such an upload sends, in bytes a second: loopback has it in a moment, in which no kill comes.
const uploadRate = 4 * mib

func (j job) protocol() protocol { return tortureProtocols[j.Resumes-1] }

func (j job) key() string { return fmt.Sprintf("job-%d", j.Number) }

// receive starts the servers of the uploads. Every other upload is broken off by its server too, once or twice.
func (x *torture) receive() {
	x.breaks = make(map[string]*breakages)
	for _, j := range x.plan.Jobs {
		if j.Resumes == 0 {
			continue
		}
		r := rand.New(rand.NewPCG(j.Seed, 0))
		x.breaks[j.key()] = &breakages{loses: !j.protocol().Tusd, r: r, left: r.IntN(2) * (1 + r.IntN(2))}
	}
	for _, p := range tortureProtocols {
		srv := newReceiver(x.t, p, func(key, method string, length int64) breakage {
			if b := x.breaks[key]; b != nil {
				return b.next(method, length)
			}
			return breakage{}
		})
		x.uploads = append(x.uploads, srv)
		x.plan.Uploads = append(x.plan.Uploads, srv.url)
	}
}

// uploaded is how many bytes the servers of the uploads have read.
func (x *torture) uploaded() (n int64) {
	n = x.store.Received()
	for _, srv := range x.uploads {
		n += srv.all()
	}
	return n
}

// amidUploads says whether a server has a part of an upload.
func (x *torture) amidUploads() bool {
	for _, j := range x.plan.Jobs {
		if j.Resumes == 0 {
			continue
		}
		for _, h := range x.uploads[j.Resumes-1].held(j.key()) {
			if !h.complete && h.offset > 0 {
				return true
			}
		}
	}
	return false
}

// unnamedMost is what may have been read of an upload whose name the daemon has not stored when it is killed, in bytes. Its content
// is asked for first (Expect: 100-continue), and the name comes before the 100, so that there should be none; a server that is
// slower to name it than the second that is waited for the 100 is sent uploadRate until its answer was read.
const unnamedMost = uploadRate / 4

// checkUpload says whether the server of an upload that resumes has exactly the file, once for each task of the job at most, and
// has read nothing twice: of what it has read, it has all, but for what it has forgotten itself; and of an upload that was
// given up, what the kill may cost.
func (x *torture) checkUpload(j job, tasks int) error {
	if j.Resumes == 0 {
		return nil
	}
	srv := x.uploads[j.Resumes-1]
	whole := 0
	var has, left int64
	for _, h := range srv.held(j.key()) {
		has += h.offset
		if !h.complete {
			left = max(left, h.offset)
			continue
		}
		whole++
		if err := h.check(j.body()); err != nil {
			return err
		}
	}
	b := x.breaks[j.key()]
	read := srv.received(j.key())
	var err error
	switch {
	case whole == 0:
		err = errors.New("the server does not have it whole")
	case whole > tasks:
		err = fmt.Errorf("the server has it %d times, and there were %d tasks", whole, tasks)
	case read-has > b.forgotten():
		err = fmt.Errorf("the server has read %d bytes and has %d of them; it has forgotten %d at most", read, has, b.forgotten())
	case left > unnamedMost:
		err = fmt.Errorf("%d bytes were sent of an upload that was given up", left)
	}
	if err != nil {
		return fmt.Errorf("by %s: %w; %+v; read of its requests: %d; broken off: %q", srv.Name, err, srv.held(j.key()), srv.contents(j.key()), b.said)
	}
	return nil
}
