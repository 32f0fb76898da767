//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unsafe"
)

// childReceiving is a server for uploads that resume, by draft-ietf-httpbis-resumable-upload in its interop version 8, in a process of
// its own. Its argument is the folder that it receives into. A request without that version is a plain upload.
const childReceiving = "receiving-server"

// The ways in which it receives, each the first folder of a URL's path; the name that follows is the file's.
const (
	wayAll  = "all"  // all of it
	wayHalf = "half" // of the first request half of the upload, then the connection ends
)

// interopVersion is the one of the draft's that it speaks.
const interopVersion = "8"

// received is what has come to a server over all connections, and in how many requests.
type received struct {
	Bytes    int64 `json:"bytes"` // also those that the server has not read (tcpi_bytes_received of tcp(7)), and of heads
	Requests int   `json:"requests"`
}

// receiving is the server.
type receiving struct {
	folder string

	mu       sync.Mutex
	received received
	cut      map[string]bool // names that were cut once
}

func serveReceiving(args []string) error {
	if len(args) != 1 {
		return errors.New("this is started by the scenarios of uploads that resume alone")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", l.Addr())
	return newReceiving(args[0]).Serve(l)
}

func newReceiving(folder string) *http.Server {
	o := &receiving{folder: folder, cut: make(map[string]bool)}
	return &http.Server{
		Handler: http.HandlerFunc(o.answer),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, &receivingConn{tcp: c.(*net.TCPConn)})
		},
	}
}

// receivingConn is a connection, which has one request at a time.
type receivingConn struct {
	tcp  *net.TCPConn
	came int64 // as far as it is counted
}

// count adds what has come over a connection since it was last counted.
func (o *receiving) count(c *receivingConn) {
	raw, err := c.tcp.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		var info struct { // tcp_info of linux/tcp.h, as far as it is read
			_             [128]byte
			bytesReceived uint64
		}
		size := uint32(unsafe.Sizeof(info))
		_, _, errno := syscall.Syscall6(syscall.SYS_GETSOCKOPT, fd, syscall.IPPROTO_TCP, syscall.TCP_INFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if errno != 0 {
			return
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.received.Bytes += int64(info.bytesReceived) - c.came
		o.received.Requests++
		c.came = int64(info.bytesReceived)
	})
}

func (o *receiving) answer(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == recordPath {
		o.mu.Lock()
		now := o.received
		o.received, o.cut = received{}, make(map[string]bool)
		o.mu.Unlock()
		json.NewEncoder(w).Encode(now)
		return
	}
	c := r.Context().Value(connKey{}).(*receivingConn)
	status, err := o.receive(w, r)
	o.count(c)
	switch {
	case errors.Is(err, errHalf):
		panic(http.ErrAbortHandler)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		w.WriteHeader(status)
	}
}

// errHalf is the end of a request that is cut.
var errHalf = errors.New("half of it has come")

// receive takes the content of a request, and returns the status of its answer, whose fields are set.
func (o *receiving) receive(w http.ResponseWriter, r *http.Request) (status int, err error) {
	file, err := os.OpenFile(filepath.Join(o.folder, path.Base(r.URL.Path)), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	there, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	h := w.Header()
	resumes := r.Header.Get("Upload-Draft-Interop-Version") == interopVersion
	length, offset := r.ContentLength, int64(0)
	switch {
	case r.Method == http.MethodHead:
		h.Set("Upload-Offset", strconv.FormatInt(there, 10))
		h.Set("Upload-Complete", "?0")
		h.Set("Upload-Limit", "min-size=0")
		return http.StatusNoContent, nil
	case r.Method == http.MethodOptions:
		h.Set("Accept-Patch", "application/partial-upload")
		return http.StatusNoContent, nil
	case r.Method == http.MethodPatch:
		if offset, err = strconv.ParseInt(r.Header.Get("Upload-Offset"), 10, 64); err != nil || offset != there {
			return http.StatusConflict, nil
		}
	default:
		if err := file.Truncate(0); err != nil {
			return 0, err
		}
		if resumes {
			if length, err = strconv.ParseInt(r.Header.Get("Upload-Length"), 10, 64); err != nil {
				return 0, err
			}
			h.Set("Location", r.URL.Path)
			h.Set("Upload-Draft-Interop-Version", interopVersion)
			w.WriteHeader(104)
			clear(h)
			h.Set("Location", r.URL.Path)
		}
	}
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return 0, err
	}
	body := io.Reader(r.Body)
	half := false
	if strings.HasPrefix(r.URL.Path, "/"+wayHalf+"/") && r.ContentLength > 0 {
		o.mu.Lock()
		half = !o.cut[r.URL.Path]
		o.cut[r.URL.Path] = true
		o.mu.Unlock()
		if half {
			body = io.LimitReader(r.Body, length/2)
		}
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{file}, struct{ io.Reader }{body}, make([]byte, 512<<10)); err != nil {
		return 0, err
	}
	if half {
		return 0, errHalf
	}
	if resumes {
		h.Set("Upload-Complete", r.Header.Get("Upload-Complete"))
	}
	return http.StatusCreated, nil
}

// receivingServer is one that runs.
type receivingServer struct {
	url  string
	stop func()
}

func (l *lab) receiving(folder string) (s *receivingServer, err error) {
	s = new(receivingServer)
	s.url, s.stop, err = l.server(childReceiving, folder)
	return s, err
}

// take is what has come since it was last called.
func (s *receivingServer) take(ctx context.Context) (received, error) {
	return takeRecord[received](ctx, s.url)
}
