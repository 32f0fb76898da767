package control

import "github.com/urlsession/urlsession/internal/task"

// Deltas makes the progress events of one listener right: what they say that has moved "since the last such event" counts
// from the last one that this listener was told, which is another one where it joined late, was slow, or reconnected. Its
// zero value is ready. It is not for concurrent use.
type Deltas struct {
	told map[Progress]*int64
}

// Adjust returns the event as it is to be told, whether that differs from ev, and whether it is to be told at all:
// progress that the listener knows is not.
func (d *Deltas) Adjust(ev task.Event) (out task.Event, changed, tell bool) {
	switch p := ev.Detail.(type) {
	case task.DownloadProgress:
		moved, ok := d.moved(ProgressOf(&ev), p.Total)
		if changed = moved != p.Written; changed {
			p.Written = moved
			ev.Detail = p
		}
		return ev, changed, ok
	case task.UploadProgress:
		moved, ok := d.moved(ProgressOf(&ev), p.Total)
		if changed = moved != p.Sent; changed {
			p.Sent = moved
			ev.Detail = p
		}
		return ev, changed, ok
	case task.SessionCompleted:
		for _, p := range ProgressesOf(ev.Task) {
			delete(d.told, p)
		}
	}
	return ev, false, true
}

// moved is how many bytes have moved since the last event; a body that is at less now has started over from 0.
func (d *Deltas) moved(p Progress, total int64) (_ int64, ok bool) {
	told := d.told[p]
	if told == nil {
		if total == 0 {
			return 0, false
		}
		if d.told == nil {
			d.told = make(map[Progress]*int64)
		}
		told = new(int64)
		d.told[p] = told
	}
	before := *told
	if total == before {
		return 0, false
	}
	*told = total
	if total < before {
		return total, true
	}
	return total - before, true
}
