package daemon

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/platform"
	"github.com/urlsession/urlsession/internal/store/sqlitestore"
)

// Info is server.Sessions'. It opens nothing: a session that is not open has no tasks that run, and no owner.
func (ss *sessions) Info(ctx context.Context, id string) (control.SessionInfo, error) {
	if err := ss.settle(ctx, "look up session"); err != nil {
		return control.SessionInfo{}, err
	}
	info, err := ss.db.Info(ctx, id)
	if err != nil {
		return control.SessionInfo{}, ss.fail("look up session", id, err)
	}
	return ss.describe(ctx, info), nil
}

// List is server.Sessions'.
func (ss *sessions) List(ctx context.Context) ([]control.SessionInfo, error) {
	const op = "list sessions"
	if err := ss.settle(ctx, op); err != nil {
		return nil, err
	}
	infos, err := ss.db.Sessions(ctx)
	if err != nil {
		return nil, ss.fail(op, "", err)
	}
	list := make([]control.SessionInfo, len(infos))
	for i, info := range infos {
		list[i] = ss.describe(ctx, info)
	}
	return list, nil
}

// settle waits until the sessions with tasks are open, so that counts are right.
func (ss *sessions) settle(ctx context.Context, op string) error {
	select {
	case <-ss.resumed:
	case <-ctx.Done():
		return ctx.Err()
	}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.stopping {
		return stoppingError(op)
	}
	return nil
}

func (ss *sessions) describe(ctx context.Context, info sqlitestore.Info) control.SessionInfo {
	d := control.SessionInfo{ID: info.Identifier, State: control.SessionState(info.State), Created: info.Created,
		Last: info.LastEvent, Acknowledged: info.Acknowledged}
	if s := ss.opened(info.Identifier); s != nil {
		d.Tasks, d.Owned, d.RateLimit = s.Alive(), s.Owned(), s.RateLimit()
	} else if g, err := ss.configuration(ctx, info.Identifier); err == nil { // of an error who opens it is told
		d.RateLimit = g.Newest.RateLimit
	}
	return d
}

// opened is a session that is open, without waiting for one that is being opened; nil: it is not.
func (ss *sessions) opened(id string) *session {
	ss.mu.Lock()
	sl := ss.all[id]
	stopping := ss.stopping
	ss.mu.Unlock()
	if sl == nil || stopping {
		return nil
	}
	return sl.current.Load()
}

// Status is server.Sessions'.
func (ss *sessions) Status(ctx context.Context) (control.Status, error) {
	list, err := ss.List(ctx)
	if err != nil {
		return control.Status{}, err
	}
	st := control.Status{PID: os.Getpid(), Version: ss.options.Version, State: ss.state, Started: ss.started,
		Sessions: len(list), Used: used(ss.state), Free: -1}
	ss.limiter.tell(&st)
	for _, s := range list {
		st.Tasks += s.Tasks
	}
	if free, err := platform.Space(ss.state); err == nil {
		st.Free = free
	}
	return st, nil
}

// used is how many bytes a folder takes on its disk. What cannot be looked at is left out.
func used(dir string) (bytes int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := e.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				bytes += st.Blocks * 512 // stat(2): whatever the file system's own blocks are
			}
		}
		return nil
	})
	return bytes
}
