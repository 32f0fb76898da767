package server

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
)

// Path parameters; huma wants the names of embedded structs exported.
type (
	SessionPath struct {
		Session string `path:"session" maxLength:"255" doc:"The session's identifier"`
	}
	TaskPath struct {
		SessionPath
		Task uint64 `path:"task" minimum:"1" doc:"The task's number"`
	}
	answer[T any] struct{ Body T }
	nothing       struct{}
)

// add registers an operation whose errors are a Service's.
func add[I, O any](api huma.API, method, path, id, summary string, f func(context.Context, *I) (*O, error)) {
	huma.Register(api, operation(method, path, id, summary), func(ctx context.Context, in *I) (*O, error) {
		out, err := f(ctx, in)
		if err != nil {
			return nil, refuse(err)
		}
		if out == nil {
			out = new(O)
		}
		return out, nil
	})
}

func operation(method, path, id, summary string) huma.Operation {
	return huma.Operation{
		Method: method, Path: path, OperationID: id, Summary: summary, MaxBodyBytes: control.MaxJSON, BodyReadTimeout: readFor,
		Errors: []int{http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusServiceUnavailable},
	}
}

// service is the session's, for a change: it is not bounded by the request, since what was asked is done, also where the
// client has gone meanwhile.
func (s *server) service(ctx context.Context, id string) (context.Context, control.Service, error) {
	svc, err := s.sessions.Get(ctx, id)
	return context.WithoutCancel(ctx), svc, err
}

func (s *server) addSessions(api huma.API) {
	const one = "/v1/sessions/{session}"
	add(api, http.MethodGet, "/v1/status", "status", "What the daemon tells of itself", func(ctx context.Context, _ *nothing) (*answer[control.Status], error) {
		st, err := s.sessions.Status(ctx)
		return &answer[control.Status]{st}, err
	})
	add(api, http.MethodGet, "/v1/sessions", "list-sessions", "All sessions", func(ctx context.Context, _ *nothing) (*answer[control.SessionList], error) {
		list, err := s.sessions.List(ctx)
		return &answer[control.SessionList]{control.SessionList{Sessions: list}}, err
	})
	add(api, http.MethodGet, one, "show-session", "One session", func(ctx context.Context, in *SessionPath) (*answer[control.SessionInfo], error) {
		info, err := s.sessions.Info(ctx, in.Session)
		return &answer[control.SessionInfo]{info}, err
	})
	add(api, http.MethodPut, one, "open-session", "Make a session, or attach to it; the body is its configuration", func(ctx context.Context, in *struct {
		SessionPath
		Body json.RawMessage
	}) (*nothing, error) {
		if err := control.CheckIdentifier(in.Session); err != nil {
			return nil, malformed("open session", http.StatusBadRequest, "%w", err)
		}
		if !bytes.HasPrefix(in.Body, []byte("{")) {
			return nil, malformed("open session", http.StatusBadRequest, "the configuration is no JSON object")
		}
		_, err := s.sessions.Open(context.WithoutCancel(ctx), in.Session, in.Body)
		return nil, err
	})
	stop := operation(http.MethodPost, control.StopPath, "stop", "Have the daemon stop: its tasks go on when it is started again")
	stop.DefaultStatus = http.StatusAccepted
	huma.Register(api, stop, func(context.Context, *nothing) (*nothing, error) {
		if s.options.Stop == nil {
			return nil, refuse(unsupported("stop the daemon"))
		}
		s.options.Stop()
		return new(nothing), nil
	})
	add(api, http.MethodPut, "/v1/rate-limit", "set-rate-limit", "Bound the bytes a second of all sessions together, each way, until the schedule's next change; 0: no limit", func(_ context.Context, in *struct {
		Body control.RateLimitChange
	}) (*nothing, error) {
		const op = "set the daemon's rate limit"
		if err := checkRate(op, in.Body); err != nil {
			return nil, err
		}
		if s.options.SetRateLimit == nil {
			return nil, unsupported(op)
		}
		s.options.SetRateLimit(in.Body.RateLimit)
		return nil, nil
	})
	add(api, http.MethodPost, "/v1/reload", "reload", "Read the daemon's settings anew", func(context.Context, *nothing) (*nothing, error) {
		const op = "reload the daemon's settings"
		if s.options.Reload == nil {
			return nil, unsupported(op)
		}
		if err := s.options.Reload(); err != nil {
			return nil, malformed(op, http.StatusBadRequest, "%w", err)
		}
		return nil, nil
	})
	for _, change := range []struct {
		name, id, summary string
		do                func(control.Service, context.Context) error
	}{
		{"finish", "finish-session", "Take no more tasks; those that there are go on", control.Service.Finish},
		{"invalidate", "invalidate-session", "Take no more tasks and cancel those that there are", control.Service.Invalidate},
		{"flush", "flush-session", "Write to the disk what the session remembers, and drop idle connections", control.Service.Flush},
		{"reset", "reset-session", "Forget what the session remembers", control.Service.Reset},
	} {
		add(api, http.MethodPost, one+"/"+change.name, change.id, change.summary, func(ctx context.Context, in *SessionPath) (*nothing, error) {
			ctx, svc, err := s.service(ctx, in.Session)
			if err != nil {
				return nil, err
			}
			return nil, change.do(svc, ctx)
		})
	}
	add(api, http.MethodPut, one+"/rate-limit", "set-session-rate-limit", "Bound the bytes a second of all tasks of a session together, each way; 0: no limit", func(ctx context.Context, in *struct {
		SessionPath
		Body control.RateLimitChange
	}) (*nothing, error) {
		return nil, s.setRateLimit(ctx, in.Session, 0, in.Body)
	})
	add(api, http.MethodPut, one+"/acknowledged", "acknowledge", "Move the session's cursor forward; only its owner may, while it has one", func(ctx context.Context, in *struct {
		SessionPath
		Claim string `header:"Urlsession-Claim" doc:"The owner's, as it named itself when it began to listen"`
		Body  control.Acknowledgement
	}) (*nothing, error) {
		ctx, svc, err := s.service(ctx, in.Session)
		if err != nil {
			return nil, err
		}
		if !s.claims.mayAcknowledge(in.Session, in.Claim) {
			return nil, &task.Error{Op: "acknowledge events", Code: task.SessionInUse, Err: errOwned}
		}
		return nil, svc.Acknowledge(ctx, in.Body.Sequence)
	})
}
