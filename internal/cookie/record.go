package cookie

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Sealer keeps what a file holds from whoever reads the file. Its key is its own business; what it seals for cookies it
// should open only as such. Its methods may be called from several goroutines.
type Sealer interface {
	Seal(secret []byte) (sealed []byte, err error)
	// Open gives back what Seal got. The error is ErrDamaged where sealed is not what Seal made with this key. Any other
	// error says that there is no telling, such as a keyring that is locked.
	Open(sealed []byte) (secret []byte, err error)
}

var (
	// ErrDamaged says that a file's content is not what was written, or was sealed with another key.
	ErrDamaged = errors.New("damaged, or sealed with another key")
	// ErrNewer says that a later version of this program wrote a file. It is not touched.
	ErrNewer = errors.New("written by a later version of this program")
)

// A file is a line that says what it is, with a random word that no two writes share, then sealed JSON.
const (
	fileKind    = "urlsession cookies "
	fileVersion = fileKind + "1 "
	headerSize  = len(fileVersion) + 26 + 1 // bytes; rand.Text has 26
	maxFileSize = 64 << 20                  // bytes; above all that maxInAll cookies can measure
)

// record is a cookie in a file. Bytes that need not be UTF-8 are in base64.
type record struct {
	Removed  bool          `json:"removed,omitempty"` // it says no more than that the cookie was removed when it was updated
	Name     []byte        `json:"name,omitempty"`
	Value    []byte        `json:"value,omitempty"`
	Domain   string        `json:"domain"`
	HostOnly bool          `json:"hostOnly,omitempty"`
	Path     []byte        `json:"path"`
	Secure   bool          `json:"secure,omitempty"`
	HTTPOnly bool          `json:"httpOnly,omitempty"`
	SameSite http.SameSite `json:"sameSite,omitempty"`
	Expires  int64         `json:"expires,omitempty"` // this and the others: Unix, ns
	Created  int64         `json:"created,omitempty"`
	Updated  int64         `json:"updated"`
	Accessed int64         `json:"accessed,omitempty"`
}

// content is what a file holds.
type content struct {
	cookies []Cookie
	removed map[key]time.Time // cookies that were removed lately, and when
}

func encode(c content, sealer Sealer) ([]byte, error) {
	records := make([]record, 0, len(c.cookies)+len(c.removed))
	for _, c := range c.cookies {
		records = append(records, record{false, []byte(c.Name), []byte(c.Value), c.Domain, c.HostOnly, []byte(c.Path), c.Secure, c.HTTPOnly, c.SameSite,
			c.Expires.UnixNano(), c.Created.UnixNano(), c.Updated.UnixNano(), c.Accessed.UnixNano()})
	}
	for k, at := range c.removed {
		records = append(records, record{Removed: true, Name: []byte(k.name), Domain: k.domain, HostOnly: k.hostOnly, Path: []byte(k.path), Updated: at.UnixNano()})
	}
	secret, err := json.Marshal(records)
	if err != nil {
		return nil, err
	}
	sealed, err := sealer.Seal(secret)
	if err != nil {
		return nil, err
	}
	return append([]byte(fileVersion+rand.Text()+"\n"), sealed...), nil
}

// decode reads what encode made. A cookie that is well written but that no Storage may hold, as after a change of the
// public suffixes, is left out.
func decode(data []byte, sealer Sealer) (content, error) {
	if len(data) < headerSize || !bytes.HasPrefix(data, []byte(fileVersion)) || data[headerSize-1] != '\n' {
		if isLaterVersion(data) {
			return content{}, ErrNewer
		}
		return content{}, fmt.Errorf("%w: it does not begin as one", ErrDamaged)
	}
	secret, err := sealer.Open(data[headerSize:])
	if err != nil {
		return content{}, err
	}
	var records []record
	if err := json.Unmarshal(secret, &records); err != nil {
		return content{}, fmt.Errorf("%w: its records do not parse", ErrDamaged) // not err's text: it could hold a value
	}
	all := content{make([]Cookie, 0, len(records)), make(map[key]time.Time)}
	for _, r := range records {
		c := Cookie{string(r.Name), string(r.Value), r.Domain, r.HostOnly, string(r.Path), r.Secure, r.HTTPOnly, r.SameSite,
			time.Unix(0, r.Expires), time.Unix(0, r.Created), time.Unix(0, r.Updated), time.Unix(0, r.Accessed)}
		switch {
		case r.Removed:
			all.removed[c.key()] = c.Updated
		case c.check() == nil:
			all.cookies = append(all.cookies, c)
		}
	}
	return all, nil
}

// isLaterVersion tells a file that begins as ours do, with a number above ours.
func isLaterVersion(data []byte) bool {
	line, _, ok := bytes.Cut(data[:min(len(data), headerSize+10)], []byte("\n"))
	rest, ours := bytes.CutPrefix(line, []byte(fileKind))
	number, _, _ := bytes.Cut(rest, []byte(" "))
	n, err := strconv.Atoi(string(number))
	return ok && ours && err == nil && n > 1
}
