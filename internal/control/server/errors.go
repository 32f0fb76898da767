package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
)

// refusal is an error on the wire: a task.Failure, with the status that says the same to those who know only HTTP.
type refusal struct {
	task.Failure
	status int
}

func (r *refusal) Error() string  { return r.Text() }
func (r *refusal) GetStatus() int { return r.status }

// statuses of the codes; what is not here is 500.
var statuses = map[task.Code]int{
	task.BadURL:              http.StatusBadRequest,
	task.UnsupportedURL:      http.StatusBadRequest,
	task.NoSharedContainer:   http.StatusBadRequest,
	task.NoPermission:        http.StatusForbidden,
	task.ResourceUnavailable: http.StatusNotFound,
	task.SessionInUse:        http.StatusConflict,
	task.SessionInvalidated:  http.StatusGone,
	task.DataTooLarge:        http.StatusRequestEntityTooLarge,
	task.DaemonLost:          http.StatusServiceUnavailable,
	task.Cancelled:           http.StatusServiceUnavailable,
	task.TimedOut:            http.StatusGatewayTimeout,
	task.CannotWriteFile:     http.StatusInsufficientStorage,
}

// refuse is an error of a Service, or of our own, on the wire; nil for nil.
func refuse(err error) error {
	if err == nil {
		return nil
	}
	if r, ok := errors.AsType[*refusal](err); ok {
		return r
	}
	if errors.Is(err, context.Canceled) {
		// The request's context: its client has gone, or sees this since the daemon stops.
		err = &task.Error{Op: "ask the daemon", Code: task.DaemonLost, Err: errors.New("the daemon is stopping")}
	}
	f := task.FailureOf(err)
	status, ok := statuses[f.Code]
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		status = http.StatusNotImplemented
	case !ok:
		status = http.StatusInternalServerError
	}
	return &refusal{*f, status}
}

// malformed is a request that means nothing: it was refused before anything was done.
func malformed(op string, status int, format string, args ...any) error {
	return &refusal{*task.FailureOf(&task.Error{Op: op, Code: task.Unknown, Err: fmt.Errorf(format, args...)}), status}
}

var errNoResource = malformed("", http.StatusNotFound, "the daemon has no such resource; /openapi.json says which it has")

func writeError(w http.ResponseWriter, err error) {
	r, _ := errors.AsType[*refusal](refuse(err))
	body, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and numbers alone: it cannot fail
	}
	w.Header().Set("Content-Type", control.JSONMediaType)
	w.WriteHeader(r.status)
	w.Write(body)
}

// transformError gives huma's own errors our form. huma's hook for that is the process's, and the program that embeds the
// daemon may use huma too.
func transformError(ctx huma.Context, _ string, v any) (any, error) {
	if _, ours := v.(*refusal); ours {
		return v, nil
	}
	e, ok := v.(huma.StatusError)
	if !ok {
		return v, nil
	}
	why := e.Error()
	if m, ok := v.(*huma.ErrorModel); ok {
		why = m.Detail
		for i, d := range m.Errors {
			sep := "; "
			if i == 0 {
				sep = ": "
			}
			why += sep + d.Message // not its Value, which may be a secret
			if d.Location != "" {
				why += " (" + d.Location + ")"
			}
		}
	}
	return malformed(ctx.Operation().OperationID, e.GetStatus(), "%s", why), nil
}
