package task

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
)

// ResumeDataVersion is the version of resume data that this program writes, and the only one that it reads.
const ResumeDataVersion = 1

// ResumeData is what a download or an upload leaves to be gone on from: self-contained, but for the file that it
// names. Of downloads only a GET leaves it. It holds URLs and headers as they are, secrets and capabilities too: it is its
// user's to keep.
type ResumeData struct {
	Version     int         `json:"version"`
	URL         string      `json:"url"`
	Header      http.Header `json:"header,omitempty"`
	Destination string      `json:"destination,omitempty"` // this and the next five as in DownloadSpec
	Path        string      `json:"path,omitempty"`
	Folder      bool        `json:"folder,omitempty"`
	Conflict    Conflict    `json:"conflict,omitempty"`
	Digests     []string    `json:"digests,omitempty"`
	DigestFile  string      `json:"digestFile,omitempty"`

	Part         string     `json:"part,omitempty"` // the part file, absolute
	ETag         string     `json:"etag,omitempty"`
	LastModified string     `json:"lastModified,omitempty"`
	Total        int64      `json:"total,omitempty"` // -1: unknown
	Held         [][2]int64 `json:"held,omitempty"`  // half-open byte ranges, ascending

	// Upload is set of an upload, which has Version, URL, Header and Digests beside it, and nothing else.
	Upload *UploadResume `json:"upload,omitempty"`
}

// ParseResumeData reads resume data of either kind. Every error is a ResumeDataUnusable that says what is wrong, and holds no
// secret of them.
func ParseResumeData(data []byte) (*ResumeData, error) {
	unusable := func(err error) error {
		return &Error{Op: "read resume data", Code: ResumeDataUnusable, Err: err}
	}
	var d ResumeData
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, unusable(fmt.Errorf("not JSON of resume data (%v); start anew", err))
	}
	if d.Version != ResumeDataVersion {
		return nil, unusable(fmt.Errorf("version %d, and this program reads %d; start anew", d.Version, ResumeDataVersion))
	}
	if u, err := url.Parse(d.URL); err != nil || u.Host == "" {
		return nil, unusable(errors.New("it names no URL"))
	}
	if d.Upload != nil {
		if d.Part != "" || d.Path != "" || len(d.Held) > 0 {
			return nil, unusable(errors.New("it is of an upload and of a download"))
		}
		if err := d.Upload.check(); err != nil {
			return nil, unusable(err)
		}
		return &d, nil
	}
	if !filepath.IsAbs(d.Part) || d.Path != "" && !filepath.IsAbs(d.Path) || d.DigestFile != "" && !filepath.IsAbs(d.DigestFile) {
		return nil, unusable(errors.New("its file paths are not absolute"))
	}
	switch d.Conflict {
	case ConflictFail, ConflictReplace, ConflictRename:
	default:
		return nil, unusable(fmt.Errorf("unknown conflict policy %q", d.Conflict))
	}
	if d.Total < -1 {
		return nil, unusable(fmt.Errorf("total of %d bytes", d.Total))
	}
	end := int64(0)
	for i, r := range d.Held {
		if r[0] < end || r[1] <= r[0] || i > 0 && r[0] == end || d.Total >= 0 && r[1] > d.Total {
			return nil, unusable(fmt.Errorf("held range [%d,%d) is out of order or out of bounds", r[0], r[1]))
		}
		end = r[1]
	}
	return &d, nil
}

// Encode is the JSON that ParseResumeData reads.
func (d *ResumeData) Encode() []byte {
	b, err := json.Marshal(d)
	if err != nil {
		panic(err) // strings and integers alone: it cannot fail
	}
	return b
}
