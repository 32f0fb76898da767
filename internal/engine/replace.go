package engine

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// ReplaceURL moves a task that has not ended to another URL, in place of one that has expired or moved. What a download
// holds is kept, and gone on from where the new URL's validators are those of the old; what the server holds of an upload is
// kept where the new URL is of the same origin, and its parts, which have URLs of their own, always. An attempt under way stops and
// begins anew at once, and so does one that waits for its retry; one that must not be sent twice goes on, and only what
// follows it is sent to the new URL. On a task that has ended it does nothing. A URL that is none of http or https is BadURL
// or UnsupportedURL, and changes nothing.
func (e *Engine) ReplaceURL(_ context.Context, id task.ID, to string) error {
	const op = "replace URL of task"
	u, err := url.Parse(to)
	switch {
	case err != nil || u.Host == "":
		return &task.Error{Op: op, URL: task.Redact(to), Code: task.BadURL, Err: errors.New("it is no absolute URL")}
	case u.Scheme != "http" && u.Scheme != "https":
		return &task.Error{Op: op, URL: task.Redact(to), Code: task.UnsupportedURL, Err: errors.New("only http and https are supported")}
	}
	return e.change(op, id, func(r *run) error { return r.replaceURL(to) })
}

func (r *run) replaceURL(to string) error {
	if r.rec.State == task.Canceling {
		return nil
	}
	before := r.rec
	if d := r.rec.Spec.Download; d != nil {
		c := *d
		c.KeyURL = cmp.Or(c.KeyURL, r.rec.Spec.Request.URL)
		r.rec.Spec.Download = &c
	}
	if u := r.rec.Upload; u != nil && u.Protocol != task.ResumableParts && originOf(to) != originOf(before.Spec.Request.URL) &&
		(r.resendable() || !u.Whole && !r.rec.UnderWay && r.phase != attempting) {
		r.rec.Upload = nil
	}
	r.rec.Spec.Request.URL, r.rec.URL = to, ""
	if r.rec.State == task.Running {
		r.rec.Waiting = nil
	}
	r.rec.Next = time.Time{}
	if err := r.saveOr(before); err != nil {
		return err
	}
	e := r.e
	e.mu.Lock()
	e.dequeue(r)
	e.leaveNetwork(r)
	e.leaveParking(r)
	if r.phase != attempting {
		r.leaveDiscretion()
	}
	r.origin = originOf(to)
	e.mu.Unlock()
	r.tries, r.full = 0, 0
	switch {
	case r.phase == attempting:
		r.challenge = nil // it was of the old URL
		if r.resendable() {
			r.stop(errReplaced)
		}
	case r.rec.State == task.Running:
		r.schedule()
	}
	return nil
}
