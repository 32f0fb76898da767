package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
)

// addCreation is by hand: a body is streamed to the Service, and 10,000 specs are decoded once.
func (s *server) addCreation(mux *http.ServeMux, api huma.API) {
	const batches = "/v1/sessions/{session}/batches"
	registry := api.OpenAPI().Components.Schemas
	spec := huma.SchemaFromType(registry, typeOf[task.Spec]())

	op := operation(http.MethodPost, tasksPath, "create-task", "Make a task; it exists once the answer is there")
	op.Parameters = pathParameters("session")
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		control.JSONMediaType: {Schema: spec},
		control.TaskMediaType: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary", Description: "The spec, on one line, then the bytes of the request's body"}},
	}}
	op.Responses = responds[control.Created](registry)
	api.OpenAPI().AddOperation(&op)
	mux.HandleFunc("POST "+tasksPath, s.create)

	batch := operation(http.MethodPost, batches, "create-tasks", "Make up to 10,000 tasks, all or none, in one commit")
	batch.Parameters = pathParameters("session")
	batch.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		control.JSONMediaType: {Schema: huma.SchemaFromType(registry, typeOf[control.Batch]())},
	}}
	batch.Responses = responds[control.CreatedBatch](registry)
	api.OpenAPI().AddOperation(&batch)
	mux.HandleFunc("POST "+batches, s.createBatch)

	add(api, http.MethodGet, "/v1/sessions/{session}/created", "find-created", "The tasks that were made with a key, or of the batch that has it; none is no error", func(ctx context.Context, in *struct {
		SessionPath
		Key   string `query:"key" required:"true" minLength:"1" maxLength:"255"`
		After uint64 `query:"after" doc:"A task's number that is known to be older"`
	}) (*answer[control.CreatedBatch], error) {
		svc, err := s.sessions.Get(ctx, in.Session)
		if err != nil {
			return nil, err
		}
		ids, err := s.keys.find(ctx, in.Session, in.Key, func() ([]task.ID, error) { return findKey(ctx, svc, in.Key, task.ID(in.After)) })
		return &answer[control.CreatedBatch]{control.CreatedBatch{Tasks: ids}}, err
	})
}

func responds[T any](registry huma.Registry) map[string]*huma.Response {
	return map[string]*huma.Response{"200": {Description: "They exist", Content: map[string]*huma.MediaType{
		control.JSONMediaType: {Schema: huma.SchemaFromType(registry, typeOf[T]())},
	}}}
}

func (s *server) create(w http.ResponseWriter, r *http.Request) {
	const op = "create task"
	session := r.PathValue("session")
	unhurried := hurry(w)
	spec, body, err := s.readTask(op, r)
	if unhurried(); err != nil {
		refuseBody(w, r, err)
		return
	}
	// Once the body is here the task is made, also where the client has gone meanwhile: it will ask for the key.
	ctx, svc, err := s.service(r.Context(), session)
	if err != nil {
		refuseBody(w, r, err)
		return
	}
	ids, err := s.keys.once(ctx, session, spec.Key, func() ([]task.ID, error) {
		var from io.Reader
		if body != nil {
			from = body
		}
		id, err := svc.Create(ctx, spec, from)
		if body != nil && body.err != nil {
			err = body.err // and not what became of it on its way
		}
		return []task.ID{id}, err
	})
	if err != nil {
		refuseBody(w, r, err)
		return
	}
	writeJSON(w, control.Created{Task: ids[0]})
}

func (s *server) createBatch(w http.ResponseWriter, r *http.Request) {
	const op = "create tasks"
	session := r.PathValue("session")
	select {
	case s.batches <- struct{}{}:
		defer func() { <-s.batches }()
	case <-r.Context().Done(): // its client has gone, or the daemon stops
		writeError(w, r.Context().Err())
		return
	}
	var batch control.Batch
	unhurried := hurry(w)
	err := decodeWhole(op, r, control.MaxBytes, &batch, batch.ScanJSON)
	if unhurried(); err != nil {
		refuseBody(w, r, err)
		return
	}
	if n := len(batch.Tasks); n == 0 || n > control.MaxBatch {
		writeError(w, malformed(op, http.StatusBadRequest, "%d tasks; from 1 to %d are taken at once", n, control.MaxBatch))
		return
	}
	for i := range batch.Tasks {
		spec := &batch.Tasks[i]
		err := checkSpec(op, spec)
		if err == nil && spec.Request.Body != nil && spec.Request.Body.Path == "" {
			err = malformed(op, http.StatusBadRequest, "it has a body that is no file; create it alone")
		}
		if err != nil {
			writeError(w, malformed(op, http.StatusBadRequest, "task %d of the batch: %w", i, err))
			return
		}
		if batch.Key != "" {
			spec.Key = control.BatchKey(batch.Key, i)
		}
	}
	ctx, svc, err := s.service(r.Context(), session)
	if err != nil {
		writeError(w, err)
		return
	}
	b, ok := svc.(control.Batcher)
	if !ok {
		writeError(w, unsupported(op))
		return
	}
	ids, err := s.keys.once(ctx, session, batch.Key, func() ([]task.ID, error) { return b.CreateBatch(ctx, batch.Tasks) })
	if err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, control.CreatedBatch{Tasks: ids})
}

// batchesAtMost is how many batches are in memory at once; others wait in their sockets. Two keep the store busy.
const batchesAtMost = 2

// readTask reads a spec, and what follows it where it has a body. body is nil where it has none.
func (s *server) readTask(op string, r *http.Request) (spec task.Spec, body *received, err error) {
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch mediaType {
	case control.JSONMediaType:
		err = decodeWhole(op, r, control.MaxSpec, &spec, func(data []byte) bool {
			rest, ok := spec.ScanJSON(data)
			if ok = ok && len(rest) == 0; !ok {
				spec = task.Spec{}
			}
			return ok
		})
	case control.TaskMediaType:
		in := bufio.NewReaderSize(r.Body, 32<<10)
		var line []byte
		if line, err = readLine(op, in); err == nil {
			err = decode(op, bytes.NewReader(line), control.MaxSpec, &spec)
		}
		body = &received{r: in, most: s.options.MaxBody, want: -1}
		if b := spec.Request.Body; b != nil {
			body.want = b.Size
		}
	default:
		err = malformed(op, http.StatusUnsupportedMediaType, "its media type is %q; send %s, or %s with a body", mediaType, control.JSONMediaType, control.TaskMediaType)
	}
	if err == nil {
		err = checkSpec(op, &spec)
	}
	if b := spec.Request.Body; err == nil && (b != nil && b.Path == "") != (body != nil) {
		err = malformed(op, http.StatusBadRequest, "a spec whose body is no file goes as %s, followed by the body, and no other does", control.TaskMediaType)
	}
	return spec, body, err
}

func readLine(op string, in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if line = append(line, part...); len(line) > control.MaxSpec {
			return nil, malformed(op, http.StatusRequestEntityTooLarge, "the spec is of more than %d bytes", control.MaxSpec)
		}
		if err == nil {
			return line, nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, malformed(op, http.StatusBadRequest, "the spec is cut short: %w", err)
		}
	}
}

// received is a body on its way in, as long as its spec says and no longer than the limit.
type received struct {
	r    io.Reader
	want int64 // bytes; -1: not known
	most int64
	n    int64
	err  error // why it is not whole
}

func (b *received) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.r.Read(p)
	b.n += int64(n)
	switch {
	case b.n > b.most:
		b.err = &task.Error{Op: "create task", Code: task.DataTooLarge,
			Err: fmt.Errorf("its body is of more than %d bytes; give a file in its place", b.most)}
	case b.want >= 0 && (b.n > b.want || err == io.EOF && b.n < b.want):
		b.err = malformed("create task", http.StatusBadRequest, "its body is not of the %d bytes that it says", b.want)
	case err != nil && err != io.EOF:
		b.err = malformed("create task", http.StatusBadRequest, "its body is cut short: %w", err)
	default:
		return n, err
	}
	return 0, b.err
}

// decode reads one JSON value, whole, of at most so many bytes. A field that is not known is an error: what a later client
// asks for would not be done.
func decode(op string, r io.Reader, most int64, v any) error {
	in := &io.LimitedReader{R: r, N: most + 1}
	d := json.NewDecoder(in)
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, err = d.Token(); err == io.EOF {
			return nil
		}
		err = errors.New("something follows it")
	}
	if in.N <= 0 {
		return malformed(op, http.StatusRequestEntityTooLarge, "it is of more than %d bytes", most)
	}
	return malformed(op, http.StatusBadRequest, "it is no JSON that this version knows: %w", err)
}

// decodeWhole is decode of a request's body, which scan may know: the form that our client writes is read several times as
// fast. Where scan says false, v is empty.
func decodeWhole(op string, r *http.Request, most int64, v any, scan func([]byte) bool) error {
	const trusted = 8 << 20 // bytes that are made room for where a client says that it sends them
	body := bytes.NewBuffer(make([]byte, 0, bytes.MinRead+min(max(0, r.ContentLength), most, trusted)))
	_, err := body.ReadFrom(io.LimitReader(r.Body, most+1))
	switch {
	case err != nil:
		return malformed(op, http.StatusBadRequest, "it is no JSON that this version knows: %w", err)
	case int64(body.Len()) <= most && scan(body.Bytes()):
		return nil
	}
	return decode(op, body, most, v)
}

// readFor is how long JSON may take to come in. A body that a task sends has the time that its app takes.
const readFor = 30 * time.Second

// hurry gives the request's reads readFor, until the function that it returns is called.
func hurry(w http.ResponseWriter) (unhurried func()) {
	rc := http.NewResponseController(w)
	rc.SetReadDeadline(time.Now().Add(readFor))
	return func() { rc.SetReadDeadline(time.Time{}) }
}

// lingerFor is how long, and lingerMost how many bytes, a client that is still sending gets to see why it was refused:
// a connection that is closed on what it has not read yet would take the answer with it.
const (
	lingerFor  = 2 * time.Second
	lingerMost = 256 << 20
)

// refuseBody answers a request whose body may not be here to its end.
func refuseBody(w http.ResponseWriter, r *http.Request, err error) {
	rc := http.NewResponseController(w)
	whole := rc.EnableFullDuplex() != nil // HTTP/1.1 reads and writes at once; anything else looks after itself
	w.Header().Set("Connection", "close")
	writeError(w, err)
	if whole || rc.Flush() != nil {
		return
	}
	rc.SetReadDeadline(time.Now().Add(lingerFor))
	io.CopyN(io.Discard, r.Body, lingerMost)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", control.JSONMediaType)
	json.NewEncoder(w).Encode(v) // an error is the client's going away
}

func taskID(s string) (task.ID, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 {
		return 0, malformed("look up task", http.StatusBadRequest, "%q is no task's number", s)
	}
	return task.ID(n), nil
}

// findKey looks through the tasks for those of a key.
func findKey(ctx context.Context, svc control.Service, key string, after task.ID) ([]task.ID, error) {
	type found struct {
		place int
		id    task.ID
	}
	var all []found
	for rec, err := range tasksAfter(ctx, svc, after) {
		if err != nil {
			return nil, err
		}
		if rec.Spec.Key == key {
			return []task.ID{rec.ID}, nil
		}
		if place, ok := strings.CutPrefix(rec.Spec.Key, key+"/"); ok {
			if i, err := strconv.Atoi(place); err == nil {
				all = append(all, found{i, rec.ID})
			}
		}
	}
	slices.SortFunc(all, func(a, b found) int { return a.place - b.place })
	ids := make([]task.ID, len(all))
	for i, f := range all {
		ids[i] = f.id
	}
	return ids, nil
}
