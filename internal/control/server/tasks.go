package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
)

const (
	tasksPath = "/v1/sessions/{session}/tasks"
	taskPath  = tasksPath + "/{task}"
)

func (s *server) addTasks(api huma.API) {
	add(api, http.MethodGet, tasksPath, "list-tasks", "Tasks that have not ended, and those ended ones that are kept, by their numbers", func(ctx context.Context, in *struct {
		SessionPath
		After uint64 `query:"after" doc:"The number of the last task of the page before"`
		Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	}) (*answer[control.TaskList], error) {
		svc, err := s.sessions.Get(ctx, in.Session)
		if err != nil {
			return nil, err
		}
		out := new(answer[control.TaskList])
		out.Body.Tasks = []task.Record{}
		parts := 0
		for rec, err := range tasksAfter(ctx, svc, task.ID(in.After)) {
			if err != nil {
				return nil, err
			}
			if n := len(out.Body.Tasks); n == in.Limit || parts >= control.MaxParts {
				out.Body.Next = out.Body.Tasks[n-1].ID
				break
			}
			out.Body.Tasks = append(out.Body.Tasks, rec)
			if rec.Upload != nil {
				parts += len(rec.Upload.Parts)
			}
		}
		return out, nil
	})
	add(api, http.MethodGet, taskPath, "show-task", "One task", func(ctx context.Context, in *TaskPath) (*answer[task.Record], error) {
		svc, err := s.sessions.Get(ctx, in.Session)
		if err != nil {
			return nil, err
		}
		rec, err := svc.Task(ctx, task.ID(in.Task))
		return &answer[task.Record]{rec}, err
	})
	for _, change := range []struct {
		name, summary string
		do            func(control.Service, context.Context, task.ID) error
	}{
		{"suspend", "Stop a task, until as many resumes; not idempotent", control.Service.Suspend},
		{"resume", "Undo one suspend; not idempotent", control.Service.Resume},
		{"cancel", "End a task with -999; an upload is dropped at its server", control.Service.Cancel},
		{"cancel-for-resume-data", "End a task with -999; an upload stays at its server", control.Service.CancelForResumeData},
	} {
		add(api, http.MethodPost, taskPath+"/"+change.name, change.name+"-task", change.summary, func(ctx context.Context, in *TaskPath) (*nothing, error) {
			ctx, svc, err := s.service(ctx, in.Session)
			if err != nil {
				return nil, err
			}
			return nil, change.do(svc, ctx, task.ID(in.Task))
		})
	}
	add(api, http.MethodPut, taskPath+"/priority", "set-priority", "Order a task among those that wait for the same host", func(ctx context.Context, in *struct {
		TaskPath
		Body control.PriorityChange
	}) (*nothing, error) {
		if p := in.Body.Priority; !(p >= 0 && p <= 1) {
			return nil, malformed("set priority of task", http.StatusBadRequest, "it is %v; it goes from above 0 to 1", float64(p))
		}
		ctx, svc, err := s.service(ctx, in.Session)
		if err != nil {
			return nil, err
		}
		return nil, svc.SetPriority(ctx, task.ID(in.Task), in.Body.Priority)
	})
	add(api, http.MethodPut, taskPath+"/rate-limit", "set-task-rate-limit", "Bound the bytes a second of a task, each way; 0: no limit", func(ctx context.Context, in *struct {
		TaskPath
		Body control.RateLimitChange
	}) (*nothing, error) {
		return nil, s.setRateLimit(ctx, in.Session, task.ID(in.Task), in.Body)
	})
	add(api, http.MethodPut, taskPath+"/url", "replace-url", "Move a task to another URL, with what it holds", func(ctx context.Context, in *struct {
		TaskPath
		Body control.URLChange
	}) (*nothing, error) {
		const op = "replace URL of task"
		if err := checkURL(op, in.Body.URL); err != nil {
			return nil, err
		}
		ctx, svc, err := s.service(ctx, in.Session)
		if err != nil {
			return nil, err
		}
		r, ok := svc.(control.URLReplacer)
		if !ok {
			return nil, unsupported(op)
		}
		return nil, r.ReplaceURL(ctx, task.ID(in.Task), in.Body.URL)
	})
	add(api, http.MethodPost, taskPath+"/answers", "answer-ticket", "Decide what a task asked by an event with a ticket", func(ctx context.Context, in *struct {
		TaskPath
		Body control.TicketAnswer
	}) (*nothing, error) {
		if err := checkAnswer("answer ticket of task", in.Body.Decision.Answer); err != nil {
			return nil, err
		}
		ctx, svc, err := s.service(ctx, in.Session)
		if err != nil {
			return nil, err
		}
		return nil, svc.Answer(ctx, task.ID(in.Task), in.Body.Ticket, in.Body.Decision)
	})
}

// setRateLimit sets that of a task, or the session's (id 0).
func (s *server) setRateLimit(ctx context.Context, session string, id task.ID, c control.RateLimitChange) error {
	if err := checkRate("set rate limit", c); err != nil {
		return err
	}
	ctx, svc, err := s.service(ctx, session)
	if err != nil {
		return err
	}
	return svc.SetRateLimit(ctx, id, c.RateLimit)
}

func checkRate(op string, c control.RateLimitChange) error {
	if c.RateLimit < 0 {
		return malformed(op, http.StatusBadRequest, "it is %d bytes a second; 0 is none", c.RateLimit)
	}
	return nil
}

// tasksAfter is control.Pager's, also of a Service that is none.
func tasksAfter(ctx context.Context, svc control.Service, after task.ID) iter.Seq2[task.Record, error] {
	if p, ok := svc.(control.Pager); ok {
		return p.TasksAfter(ctx, after)
	}
	return func(yield func(task.Record, error) bool) {
		for rec, err := range svc.Tasks(ctx) {
			if (err != nil || rec.ID > after) && !yield(rec, err) {
				return
			}
		}
	}
}

func unsupported(op string) error {
	return &task.Error{Op: op, Code: task.Unknown, Err: fmt.Errorf("sessions of this daemon cannot: %w", errors.ErrUnsupported)}
}

// addBody is by hand: huma would hold the body in memory.
func (s *server) addBody(mux *http.ServeMux, api huma.API) {
	const path = taskPath + "/body"
	op := operation(http.MethodGet, path, "read-body", "The body of the response of a data or upload task that has ended")
	op.Parameters = pathParameters("session", "task")
	op.Responses = map[string]*huma.Response{"200": {Description: "The body, decoded", Content: map[string]*huma.MediaType{"application/octet-stream": {}}}}
	api.OpenAPI().AddOperation(&op)
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		id, err := taskID(r.PathValue("task"))
		if err != nil {
			writeError(w, err)
			return
		}
		svc, err := s.sessions.Get(r.Context(), r.PathValue("session"))
		if err != nil {
			writeError(w, err)
			return
		}
		body, err := svc.Body(r.Context(), id)
		if err != nil {
			writeError(w, err)
			return
		}
		defer body.Close()
		w.Header().Set("Content-Type", "application/octet-stream")
		if _, err := io.Copy(w, body); err != nil {
			panic(http.ErrAbortHandler) // the status is out: only a broken connection can tell
		}
	})
}

// pathParameters describes those of an operation by hand.
func pathParameters(names ...string) []*huma.Param {
	var ps []*huma.Param
	for _, n := range names {
		ps = append(ps, &huma.Param{Name: n, In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}})
	}
	return ps
}
