package partial

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// recordVersion is the version of records that this program writes, and the only one that it reads.
const recordVersion = 1

// maxRecord bounds what is read of a record, in bytes. A thousand ranges take 40 kB.
const maxRecord = 1 << 20

// A Record is what stands in NAME.KEY.part.json. It names no URL, which may hold secrets, and no digest, which comes
// with each task: KEY binds it to its download.
type Record struct {
	Validator Validator
	Total     int64  // the complete length, -1 when unknown
	Held      Ranges // the bytes of the part file that are durable and of the validator's version
}

// wireRecord is a Record as JSON. What must be there is a pointer, so that what is missing does not pass for zero.
type wireRecord struct {
	Version      *int    `json:"version"`
	ETag         string  `json:"etag,omitempty"`
	LastModified string  `json:"lastModified,omitempty"`
	Date         string  `json:"date,omitempty"`
	Total        *int64  `json:"total"`
	Held         *Ranges `json:"held"`
}

// Encode is the JSON that ParseRecord reads.
func (r Record) Encode() []byte {
	version := recordVersion
	b, err := json.Marshal(wireRecord{
		Version: &version,
		ETag:    r.Validator.ETag, LastModified: r.Validator.LastModified, Date: r.Validator.Date,
		Total: &r.Total, Held: &r.Held,
	})
	if err != nil {
		panic(err) // strings and integers: it cannot fail
	}
	return append(b, '\n')
}

// ParseRecord reads a record. What is not a record to the letter is an error: it is better to fetch bytes again than to
// trust what was half understood.
func ParseRecord(data []byte) (Record, error) {
	var w wireRecord
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&w); err != nil {
		return Record{}, fmt.Errorf("record of a part file: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return Record{}, errors.New("record of a part file: something follows it")
	}
	switch {
	case w.Version == nil || w.Total == nil || w.Held == nil:
		return Record{}, errors.New("record of a part file: version, total or held is missing")
	case *w.Version != recordVersion:
		return Record{}, fmt.Errorf("record of a part file: version %d, and this program reads %d", *w.Version, recordVersion)
	case w.ETag != "" && !wellFormed(w.ETag):
		return Record{}, fmt.Errorf("record of a part file: %q is no entity tag", w.ETag)
	case *w.Total < -1:
		return Record{}, fmt.Errorf("record of a part file: total of %d bytes", *w.Total)
	case *w.Total >= 0 && w.Held.End() > *w.Total:
		return Record{}, fmt.Errorf("record of a part file: byte %d of %d is held", w.Held.End(), *w.Total)
	}
	return Record{
		Validator: Validator{ETag: w.ETag, LastModified: w.LastModified, Date: w.Date},
		Total:     *w.Total,
		Held:      *w.Held,
	}, nil
}
