package test

import (
	"os/exec"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/urlsession/urlsession/urlsessiontest"
)

// state is what one script has started.
type state struct {
	servers map[string]*urlsessiontest.Server
	uploads map[string]*urlsessiontest.UploadServer
	proxies map[string]*urlsessiontest.Proxy
	stores  map[string]*urlsessiontest.MultipartServer
	objects map[string]*urlsessiontest.Multipart // by their keys
	runs    map[string]*process
	last    *process
}

type stateKey struct{}

func newState() *state {
	return &state{
		servers: make(map[string]*urlsessiontest.Server),
		uploads: make(map[string]*urlsessiontest.UploadServer),
		proxies: make(map[string]*urlsessiontest.Proxy),
		stores:  make(map[string]*urlsessiontest.MultipartServer),
		objects: make(map[string]*urlsessiontest.Multipart),
		runs:    make(map[string]*process),
	}
}

func stateOf(ts *testscript.TestScript) *state { return ts.Value(stateKey{}).(*state) }

// process is one run of the binary.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr output
	done           chan struct{}
	err            error // of Wait; valid when done is closed
	peak           int64 // VmHWM in bytes, as it was last seen; valid when done is closed
}

// output collects what a process prints, while it runs.
type output struct {
	mu    sync.Mutex
	bytes []byte
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.bytes = append(o.bytes, p...)
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.bytes)
}
