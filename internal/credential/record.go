package credential

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/urlsession/urlsession/internal/seal"
)

// ErrNewer says that a later version of this program wrote a file. It is not touched.
var ErrNewer = errors.New("written by a later version of this program")

// A file is a line that says what it is, who holds its key, and a random word that no two writes share; then sealed JSON.
const (
	fileKind    = "urlsession credentials "
	fileVersion = 1
	maxFileSize = 16 << 20 // bytes
	maxHeader   = 100      // bytes
)

// record is a stored credential in the file.
type record struct {
	Space       Space  `json:"space"`
	User        []byte `json:"user,omitempty"` // this and the next two need not be UTF-8
	Password    []byte `json:"password,omitempty"`
	Token       []byte `json:"token,omitempty"`
	Certificate string `json:"certificate,omitempty"`
	Default     bool   `json:"default,omitempty"`
}

func encode(kept table, holder string, sealer *seal.Sealer) ([]byte, error) {
	records := []record{}
	for space, entries := range kept {
		for _, e := range entries {
			records = append(records, record{space, []byte(e.User), []byte(e.Password.Reveal()), []byte(e.Token.Reveal()), e.Certificate, e.isDefault})
		}
	}
	secret, err := json.Marshal(records)
	if err != nil {
		return nil, err
	}
	if len(secret) > maxFileSize-1<<10 {
		return nil, fmt.Errorf("there are more than %d MiB of credentials", maxFileSize>>20)
	}
	sealed, err := sealer.Seal(secret)
	if err != nil {
		return nil, err
	}
	return append(fmt.Appendf(nil, "%s%d %s %s\n", fileKind, fileVersion, holder, rand.Text()), sealed...), nil
}

// decode reads what follows the header.
func decode(data []byte, sealer *seal.Sealer) (table, error) {
	secret, err := sealer.Open(data)
	if err != nil {
		return nil, err
	}
	var records []record
	if err := json.Unmarshal(secret, &records); err != nil {
		return nil, fmt.Errorf("%w: its records do not parse", seal.ErrDamaged) // not err's text: it could hold a secret
	}
	kept := table{}
	for _, r := range records {
		c := Credential{string(r.User), NewSecret(string(r.Password)), NewSecret(string(r.Token)), r.Certificate, Permanent}
		if !c.IsZero() {
			kept.set(r.Space, c, r.Default)
		}
	}
	return kept, nil
}

// identity tells one state of a file from another: a file system gives the number of a file that was replaced to the next,
// and its clock may stand for some milliseconds, but no two have one header. The zero identity is that of no file.
type identity struct {
	info   fs.FileInfo
	header string
}

func (a identity) same(b identity) bool {
	if a.info == nil || b.info == nil {
		return a.info == nil && b.info == nil
	}
	return os.SameFile(a.info, b.info) && a.info.Size() == b.info.Size() && a.info.ModTime().Equal(b.info.ModTime()) && a.header == b.header
}

// holder is the name of who holds the file's key.
func (a identity) holder() string {
	if words := strings.Fields(a.header); len(words) == 5 {
		return words[3]
	}
	return ""
}

func checkHeader(header string) error {
	words := strings.Fields(header)
	if !strings.HasPrefix(header, fileKind) || len(words) < 3 {
		return fmt.Errorf("%w: it does not begin as one", seal.ErrDamaged)
	}
	if n, err := strconv.Atoi(words[2]); err == nil && n > fileVersion {
		return ErrNewer
	} else if n != fileVersion || len(words) != 5 {
		return fmt.Errorf("%w: it does not begin as one", seal.ErrDamaged)
	}
	return nil
}

// identify looks at what stands at path.
func identify(path string) (identity, error) {
	id, _, err := read(path, maxHeader)
	return id, err
}

// readFile reads what stands at path. The data is what follows the header.
func readFile(path string) (identity, []byte, error) {
	id, data, err := read(path, maxFileSize)
	if err == nil && len(data) == maxFileSize {
		err = fmt.Errorf("%w: it is too large", seal.ErrDamaged)
	}
	return id, data, err
}

func read(path string, most int64) (identity, []byte, error) {
	in, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it does not wait for a FIFO's other end
	if errors.Is(err, fs.ErrNotExist) {
		return identity{}, nil, nil
	}
	if err != nil {
		return identity{}, nil, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return identity{}, nil, err
	}
	if !info.Mode().IsRegular() {
		return identity{}, nil, errors.New("it is no regular file")
	}
	data, err := io.ReadAll(io.LimitReader(in, most))
	if err != nil {
		return identity{}, nil, err
	}
	header, rest, ok := bytes.Cut(data, []byte("\n"))
	if !ok || len(header) > maxHeader {
		header, rest = header[:min(len(header), maxHeader)], nil
	}
	return identity{info, string(header)}, rest, nil
}
