package engine

import (
	"errors"
	"path/filepath"
	"syscall"
	"time"

	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/task"
)

const (
	// spacePoll bounds how long a task that waits for disk space goes without a look. From a second on the time doubles,
	// also between attempts that find the disk full although it says that it has room, as one with quotas does.
	spacePoll = time.Minute
	// roomAtLeast is how much must be free for a download of which nobody knows how much is missing.
	roomAtLeast = 1 << 20
)

// noSpace says whether an error is of a full disk or an exceeded quota.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, store.ErrFull)
}

// awaitSpace parks the task until its disk has room. It is told once a wait. why is what found the disk full; nil: a look
// at it. r.mu is held.
func (r *run) awaitSpace(why *task.Error) {
	now := time.Now()
	first := r.full == 0
	if first {
		r.fullSince = now
	}
	w := &task.Wait{Reason: task.WaitSpace, Detail: r.folder(), Since: r.fullSince}
	if why != nil {
		w.Error = task.FailureOf(why)
	}
	r.lookLater()
	if first {
		r.wait(w)
	} else {
		r.phase, r.rec.Waiting = waiting, w
		if len(r.unsaved) > 0 || !r.resendable() { // as awaitNetwork
			r.save()
		}
	}
	r.e.mu.Lock()
	r.e.park(r)
	r.e.mu.Unlock()
	r.plan()
}

func (r *run) lookLater() {
	r.rec.Next = time.Now().Add(min(spacePoll, time.Second<<min(r.full, 6)))
	r.full++
}

// stillFull says whether a task that waits for disk space goes on waiting, and when it is to be looked at again. r.mu is
// held.
func (r *run) stillFull() bool {
	if w := r.rec.Waiting; w == nil || w.Reason != task.WaitSpace || r.hasRoom() {
		return false
	}
	r.lookLater()
	return true
}

// hasRoom says whether the disk has room for what is missing of a download, as far as that is known. A disk that cannot be
// asked has: the attempt tells more. r.mu is held.
func (r *run) hasRoom() bool {
	folder := r.folder()
	if folder == "" {
		return true
	}
	free, err := r.e.space(folder)
	if err != nil {
		return true
	}
	missing := int64(roomAtLeast)
	if c := r.counts(); c.ExpectedToReceive >= 0 {
		missing = max(0, c.ExpectedToReceive-c.Received)
	}
	return free >= missing
}

// folder is where a download goes; empty where the user left that open.
func (r *run) folder() string {
	d := r.rec.Spec.Download
	switch {
	case d == nil:
		return ""
	case d.Path == "":
		return r.e.temporary
	case d.Folder:
		return d.Path
	}
	return filepath.Dir(d.Path)
}
