package engine

import (
	"fmt"

	"github.com/urlsession/urlsession/internal/task"
)

// enoughParts says what is wrong where a body, whose size was not known when the spec was made, needs more parts than it has URLs.
func enoughParts(spec *task.Spec, size int64) error {
	if spec.Upload == nil || spec.Upload.Multipart == nil {
		return nil
	}
	m := spec.Upload.Multipart
	if n := int64(len(m.Parts)); m.PartSize > 0 && (size-1)/m.PartSize >= n {
		return fmt.Errorf("%d bytes need %d parts of %d bytes, and there are %d URLs; give as many, or a greater part size", size, (size-1)/m.PartSize+1, m.PartSize, n)
	}
	return nil
}
