package urlsessiontest

import (
	"bytes"
	"io"
	"os"
	"sync"
)

// uploadContent is the bytes of one upload, as far as they have come. Its owner
// alone changes it; anybody may read below the length that the owner told.
type uploadContent interface {
	io.ReaderAt
	append(p []byte)
	truncate(n int64)
	length() int64
	close()
}

// newContent panics if a file cannot be made: a test cannot go on without.
func (h *uploadHost) newContent() uploadContent {
	if h.dir == "" {
		return new(memoryContent)
	}
	f, err := os.CreateTemp(h.dir, "upload-*")
	if err != nil {
		panic("urlsessiontest: make a file for an upload: " + err.Error())
	}
	return &fileContent{File: f}
}

type memoryContent struct {
	mu  sync.RWMutex
	all []byte
}

func (c *memoryContent) ReadAt(p []byte, off int64) (int, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return bytes.NewReader(c.all).ReadAt(p, off)
}

func (c *memoryContent) append(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, p...)
}

func (c *memoryContent) truncate(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = c.all[:n]
}

func (c *memoryContent) length() int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return int64(len(c.all))
}

func (c *memoryContent) close() {}

// fileContent panics where its disk fails, as newContent does.
type fileContent struct {
	*os.File
	mu   sync.Mutex
	size int64
}

func (c *fileContent) append(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.WriteAt(p, c.size); err != nil {
		panic("urlsessiontest: keep an upload: " + err.Error())
	}
	c.size += int64(len(p))
}

func (c *fileContent) truncate(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.Truncate(n); err != nil {
		panic("urlsessiontest: shorten an upload: " + err.Error())
	}
	c.size = n
}

func (c *fileContent) length() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.size
}

func (c *fileContent) close() {
	c.Close()
	os.Remove(c.Name())
}
