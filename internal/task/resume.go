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

// ResumeData is what a cancelled download leaves to be gone on from: self-contained, but for the part file that it
// names. Only a GET leaves it. It holds the URL and the header as they are, secrets too: it is its user's to keep.
type ResumeData struct {
	Version     int         `json:"version"`
	URL         string      `json:"url"`
	Header      http.Header `json:"header,omitempty"`
	Destination string      `json:"destination"` // this and the next five as in DownloadSpec
	Path        string      `json:"path"`
	Folder      bool        `json:"folder,omitempty"`
	Conflict    Conflict    `json:"conflict,omitempty"`
	Digests     []string    `json:"digests,omitempty"`
	DigestFile  string      `json:"digestFile,omitempty"`

	Part         string     `json:"part"` // the part file, absolute
	ETag         string     `json:"etag,omitempty"`
	LastModified string     `json:"lastModified,omitempty"`
	Total        int64      `json:"total"` // -1: unknown
	Held         [][2]int64 `json:"held"`  // half-open byte ranges, ascending
}

// ParseResumeData reads resume data. Every error is a ResumeDataUnusable that says what is wrong.
func ParseResumeData(data []byte) (*ResumeData, error) {
	unusable := func(err error) error {
		return &Error{Op: "read resume data", Code: ResumeDataUnusable, Err: err}
	}
	var d ResumeData
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, unusable(fmt.Errorf("not JSON of resume data (%v); start the download anew", err))
	}
	if d.Version != ResumeDataVersion {
		return nil, unusable(fmt.Errorf("version %d, and this program reads %d; start the download anew", d.Version, ResumeDataVersion))
	}
	if u, err := url.Parse(d.URL); err != nil || u.Host == "" {
		return nil, unusable(errors.New("it names no URL"))
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
