package server

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
)

const eventsPath = "/v1/sessions/{session}/events"

// addEvents is by hand: each event is encoded once for all who listen, and a listener gets what there is in one write.
func (s *server) addEvents(mux *http.ServeMux, api huma.API) {
	op := operation(http.MethodGet, eventsPath, "listen", "The events of a session, or of one task, as they come (server-sent events)")
	op.Description = "A durable event's id is its number; a live one has none. An id without data says where the stream begins. " +
		"An event named \"end\" says that nothing follows, \"failure\" why nothing does. A comment comes every 15 s."
	op.Parameters = append(pathParameters("session"),
		&huma.Param{Name: "task", In: "query", Schema: &huma.Schema{Type: huma.TypeInteger}, Description: "Only this task's events, to its last"},
		&huma.Param{Name: "after", In: "query", Schema: &huma.Schema{Type: huma.TypeInteger}, Description: "Number of the last event that was seen; without, the acknowledged one, or a task's beginning"},
		&huma.Param{Name: "own", In: "query", Schema: &huma.Schema{Type: huma.TypeBoolean}, Description: "As the session's owner, which there is one of"},
		&huma.Param{Name: "durable", In: "query", Schema: &huma.Schema{Type: huma.TypeBoolean}, Description: "Without the live events"},
		&huma.Param{Name: "Last-Event-ID", In: "header", Schema: &huma.Schema{Type: huma.TypeInteger}, Description: "As after, and before it"},
		&huma.Param{Name: control.ClaimHeader, In: "header", Schema: &huma.Schema{Type: huma.TypeString}, Description: "Names the owner, so that it can acknowledge, and come back"},
	)
	op.Responses = map[string]*huma.Response{"200": {Description: "The stream", Content: map[string]*huma.MediaType{control.EventsMediaType: {}}}}
	api.OpenAPI().AddOperation(&op)
	mux.HandleFunc("GET "+eventsPath, func(w http.ResponseWriter, r *http.Request) {
		if err := s.listen(w, r); err != nil {
			writeError(w, err)
		}
	})
}

// listen answers with a stream. Its error is of before the stream's beginning.
func (s *server) listen(w http.ResponseWriter, r *http.Request) error {
	q, err := eventQuery(r)
	if err != nil {
		return err
	}
	session := r.PathValue("session")
	svc, err := s.sessions.Get(r.Context(), session)
	if err != nil {
		return err
	}
	select {
	case s.listeners <- struct{}{}:
		defer func() { <-s.listeners }()
	default:
		return malformed("listen to events", http.StatusServiceUnavailable, "%d listen already, and no more are taken", cap(s.listeners))
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if q.Own {
		rc := http.NewResponseController(w)
		release, err := s.claims.take(ctx, session, r.Header.Get(control.ClaimHeader), func() {
			cancel()
			rc.SetWriteDeadline(time.Now()) // it may wait for a reader that has gone
		})
		if err != nil {
			return err
		}
		defer release()
	}
	l := &listening{svc: svc, q: q, tick: s.options.Tick}
	if q.Task == 0 {
		info, err := s.sessions.Info(ctx, session)
		if err != nil {
			return err
		}
		if q.After == nil {
			l.q.After = &info.Acknowledged
		}
		l.skip = *l.q.After
		l.told = min(l.skip, info.Last)
		l.hub = s.hub(session, svc)
		defer s.leave(session, l.hub)
	} else if q.After != nil {
		l.skip = *q.After
	}
	l.out = newStream(w, s.options.Heartbeat, l.skip)
	defer l.out.close()
	if err := l.run(ctx); ctx.Err() == nil {
		l.out.end(err)
	}
	return nil
}

func eventQuery(r *http.Request) (q task.EventQuery, err error) {
	const op = "listen to events"
	v := r.URL.Query()
	number := func(name, s string) (n uint64) {
		if s == "" || err != nil {
			return 0
		}
		if n, err = strconv.ParseUint(s, 10, 64); err != nil {
			err = malformed(op, http.StatusBadRequest, "%s is %q, and no number", name, s)
		}
		return n
	}
	flag := func(name string) (b bool) {
		if s := v.Get(name); s != "" && err == nil {
			if b, err = strconv.ParseBool(s); err != nil {
				err = malformed(op, http.StatusBadRequest, "%s is %q, and neither true nor false", name, s)
			}
		}
		return b
	}
	q.Task = task.ID(number("task", v.Get("task")))
	q.Own, q.DurableOnly = flag("own"), flag("durable")
	if s := r.Header.Get("Last-Event-ID"); s != "" {
		n := number("Last-Event-ID", s)
		q.After = &n
	} else if s := v.Get("after"); s != "" {
		n := number("after", s)
		q.After = &n
	}
	if q.Own && q.Task != 0 && err == nil {
		err = malformed(op, http.StatusBadRequest, "an owner listens to the whole session, not to one task")
	}
	return q, err
}

// hub is the session's, which is the caller's too until leave.
func (s *server) hub(session string, svc control.Service) *hub {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hubs[session]
	if h == nil || h.svc != svc { // the session was made anew
		h = &hub{svc: svc}
		s.hubs[session] = h
	}
	h.users++
	return h
}

func (s *server) leave(session string, h *hub) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.users--; h.users == 0 && s.hubs[session] == h {
		delete(s.hubs, session)
	}
}

// listening is one event stream.
type listening struct {
	svc  control.Service
	q    task.EventQuery
	out  *stream
	hub  *hub // of a listener to the whole session; nil: to one task
	tick time.Duration

	skip   uint64 // what it asked for begins after this number
	told   uint64 // number of the last event that it was told, at most the session's last
	deltas control.Deltas
}

// run tells until the last event or an error, which is ctx's, the Service's or the connection's.
//
// The loop over the Service's events is the claim of an owner: it stays in it, at EventsCompleted, for as long as it
// follows.
func (l *listening) run(ctx context.Context) error {
	live := false
	for ev, err := range l.svc.Events(ctx, l.q) {
		if err != nil {
			return err
		}
		_, completed := ev.Detail.(task.EventsCompleted)
		live = live || completed
		if last, err := l.tell(item{ev: ev, seq: numberOf(ev)}); last || err != nil {
			return err
		}
		if live {
			if err := l.out.flush(); err != nil {
				return err
			}
		}
		if completed && l.hub != nil {
			return l.follow(ctx)
		}
	}
	return nil
}

// follow tells what comes, from the hub; and from the store what the hub had handed out before, or what was too much to
// wait for this listener.
func (l *listening) follow(ctx context.Context) error {
	sub := &subscriber{changed: make(chan struct{}, 1), durable: l.q.DurableOnly}
	l.hub.attach()
	defer l.hub.detach(sub)
	for {
		sub.from = l.told
		reached := l.hub.join(sub)
		if reached == l.told {
			if last, err := l.keepUp(ctx, sub); last || err != nil {
				return err
			}
		}
		if last, err := l.replay(ctx); last || err != nil {
			return err
		}
		l.told = max(l.told, reached) // whatever is kept of what stood before that has been told
	}
}

// keepUp tells what the hub hands over, until the last event, an error, or the hub has dropped the subscriber, which did
// not keep up.
func (l *listening) keepUp(ctx context.Context, sub *subscriber) (last bool, err error) {
	var items []*item
	pace := time.NewTimer(0)
	defer pace.Stop()
	for {
		select {
		case <-sub.changed:
		case <-ctx.Done():
			return false, ctx.Err()
		}
		var member bool
		if items, member = l.hub.take(sub, items[:0]); !member {
			return false, nil
		}
		for _, it := range items {
			if it.end {
				return true, it.err
			}
			if last, err := l.tell(*it); last || err != nil {
				return last, err
			}
		}
		clear(items)
		if err := l.out.flush(); err != nil {
			return false, err
		}
		pace.Reset(l.tick)
		select {
		case <-pace.C:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// replay tells what the store has beyond what was told.
func (l *listening) replay(ctx context.Context) (last bool, err error) {
	after := l.told
	for ev, err := range l.svc.Events(ctx, task.EventQuery{After: &after, DurableOnly: l.q.DurableOnly}) {
		if err != nil {
			return false, err
		}
		if _, ok := ev.Detail.(task.EventsCompleted); ok {
			return false, l.out.flush()
		}
		if last, err := l.tell(item{ev: ev, seq: numberOf(ev)}); last || err != nil {
			return last, err
		}
	}
	return true, nil
}

// numberOf is an event's number, and a gap's the last in it.
func numberOf(ev task.Event) uint64 {
	if gap, ok := ev.Detail.(task.Gap); ok {
		return gap.To
	}
	return ev.Sequence
}

// tell gathers an event, unless it was told. last: nothing follows it.
func (l *listening) tell(it item) (last bool, err error) {
	if it.seq != 0 {
		if l.hub != nil && it.seq <= max(l.told, l.skip) {
			return false, nil
		}
		l.told = max(l.told, it.seq)
	}
	ev, changed, tell := l.deltas.Adjust(it.ev)
	if !tell {
		return false, nil
	}
	if it.frame == nil || changed {
		if it.frame, err = frameOf(ev); err != nil {
			return false, err
		}
	}
	if err := l.out.add(it.frame); err != nil {
		return false, err
	}
	switch ev.Detail.(type) {
	case task.SessionCompleted:
		last = l.q.Task != 0
	case task.Invalidated:
		last = l.q.Task == 0
	}
	if last {
		err = l.out.flush()
	}
	return last, err
}
