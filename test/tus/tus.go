// Package tus has tusd, the reference server of tus 1.0, in this process: what uploads of another's making are tried against.
// It also speaks draft-ietf-httpbis-resumable-upload in its interop versions 3 to 6.
package tus

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/tus/tusd/v2/pkg/filestore"
	"github.com/tus/tusd/v2/pkg/handler"
	"github.com/tus/tusd/v2/pkg/memorylocker"
	"golang.org/x/exp/slog"
)

// Server is tusd on a free port of 127.0.0.1. Make one with Start and Close it.
type Server struct {
	URL string // where uploads are created, by POST

	dir    string
	server *httptest.Server
}

// Start serves uploads that it keeps in the folder dir. An upload has at most maxSize bytes; 0 is any number. Middleware, if it
// is not nil, comes between the client and tusd, such as to cut connections.
func Start(dir string, maxSize int64, middleware func(http.Handler) http.Handler) (*Server, error) {
	composer := handler.NewStoreComposer()
	filestore.New(dir).UseIn(composer)
	memorylocker.New().UseIn(composer)
	h, err := handler.NewHandler(handler.Config{
		StoreComposer:                    composer,
		BasePath:                         "/files/",
		MaxSize:                          maxSize,
		EnableExperimentalProtocol:       true,
		AcquireLockTimeout:               5 * time.Second,
		GracefulRequestCompletionTimeout: 50 * time.Millisecond, // its goroutine outlives each request by so much
		Logger:                           slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		return nil, fmt.Errorf("start tusd: %w", err)
	}
	serve := http.StripPrefix("/files", h)
	if middleware != nil {
		serve = middleware(serve)
	}
	s := &Server{dir: dir, server: httptest.NewServer(serve)}
	s.URL = s.server.URL + "/files/"
	return s, nil
}

// Close ends all connections.
func (s *Server) Close() {
	s.server.CloseClientConnections()
	s.server.Close()
}

// Open opens what has come of the upload at location.
func (s *Server) Open(location string) (*os.File, error) {
	return os.Open(filepath.Join(s.dir, filepath.Base(location)))
}
