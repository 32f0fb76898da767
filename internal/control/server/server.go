// Package server is the HTTP face of the daemon's sessions: the other end of control.Client.
//
// It speaks HTTP/1.1 over a unix socket that only its user can open. Resources stand under /v1, bodies are JSON in the
// words of package task, events are an SSE stream, and /openapi.json describes it all. curl can use it:
//
//	curl --unix-socket daemon.sock http://urlsession/v1/sessions
package server

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/urlsession/urlsession/internal/control"
)

// Sessions are those of the daemon. Its methods may be called from any goroutine. Errors are *task.Error: an unknown
// session is ResourceUnavailable, and what a daemon that is stopping will not do any more DaemonLost, which has a client
// try again.
//
// A session's Service is the same value each time, a pointer. The Services may be control.Batcher, Pager and URLReplacer too. Create of each must have read its body to the end, and
// hold it, when it returns; a body that ends with an error makes no task.
type Sessions interface {
	// Open makes a session, or attaches to the one that there is. configuration is JSON; it governs the tasks created from
	// now on.
	Open(ctx context.Context, id string, configuration []byte) (control.Service, error)
	Get(ctx context.Context, id string) (control.Service, error)
	Info(ctx context.Context, id string) (control.SessionInfo, error)
	List(ctx context.Context) ([]control.SessionInfo, error)
	Status(ctx context.Context) (control.Status, error)
}

// Options are limits. Zero values are the defaults.
type Options struct {
	MaxBody      int64         // bytes of a request's body that comes with its task; 1 GiB
	MaxListeners int           // event streams at a time; 4,096
	Heartbeat    time.Duration // after which a silent event stream says that it lives; control.HeartbeatEvery, and not more
	Tick         time.Duration // between two writes to a listener of a whole session; 10 ms
	// Stop has the daemon stop, and returns at once; nil: it does not for a client.
	Stop func()
	// SetRateLimit bounds the bytes a second of all sessions together, and Reload has the daemon read its settings anew;
	// nil: they cannot be asked for.
	SetRateLimit func(bytesPerSecond int64)
	Reload       func() error
}

// New is the handler. Its goroutines end with the requests that started them.
func New(sessions Sessions, o Options) http.Handler {
	if o.MaxBody <= 0 {
		o.MaxBody = 1 << 30
	}
	if o.MaxListeners <= 0 {
		o.MaxListeners = 4096
	}
	if o.Heartbeat <= 0 || o.Heartbeat > control.HeartbeatEvery {
		o.Heartbeat = control.HeartbeatEvery
	}
	if o.Tick <= 0 {
		o.Tick = 10 * time.Millisecond
	}
	s := &server{
		sessions: sessions, options: o, listeners: make(chan struct{}, o.MaxListeners),
		claims: claims{held: make(map[string]*claim)}, keys: newKeys(), hubs: make(map[string]*hub),
		batches: make(chan struct{}, batchesAtMost),
	}
	mux := http.NewServeMux()
	api := newAPI(mux)
	s.addSessions(api)
	s.addTasks(api)
	s.addCreation(mux, api)
	s.addBody(mux, api)
	s.addEvents(mux, api)
	mux.HandleFunc("GET /openapi.json", sync.OnceValue(func() http.HandlerFunc { return document(api) })())
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { writeError(w, errNoResource) })
	return guard(mux)
}

type server struct {
	sessions  Sessions
	options   Options
	listeners chan struct{} // holds a token a stream
	claims    claims
	keys      *keys
	batches   chan struct{} // holds a token a batch that is in memory

	mu   sync.Mutex
	hubs map[string]*hub // by session, while somebody listens
}

// newAPI is huma without its pages, its $schema fields, and its own document (which it makes without a lock).
func newAPI(mux *http.ServeMux) huma.API {
	c := huma.DefaultConfig("urlsession", "1")
	c.Info.Description = "Background sessions of the urlsession daemon, on its user's unix socket."
	c.OpenAPIPath, c.DocsPath, c.SchemasPath, c.CreateHooks = "", "", "", nil
	c.RejectUnknownQueryParameters = true
	c.Transformers = []huma.Transformer{transformError}
	return humago.New(mux, c)
}

// document serves the API's description.
func document(api huma.API) http.HandlerFunc {
	doc, err := json.Marshal(api.OpenAPI())
	return func(w http.ResponseWriter, r *http.Request) {
		if err != nil {
			writeError(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/openapi+json")
		w.Write(doc)
	}
}
