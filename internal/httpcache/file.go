package httpcache

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"strings"
)

// An entry is a file of its head, with the body where that is small:
//
//	urlsession cache 1 CRC LENGTH\n    of all that follows: CRC-32C in hexadecimal, bytes in decimal
//	{"id":…,"url":…,"header":…}\n      the head, as JSON on one line
//	…                                  the body
//
// What follows the first line is sealed as a whole where there is a Sealer. A larger body is in a file of its own, in chunks
// of chunkSize bytes, each sealed where there is a Sealer; the head has the sums.

const (
	fileKind   = "urlsession cache 1 "
	inlineMost = 64 << 10  // bytes of a body that is in its head's file
	chunkSize  = 256 << 10 // bytes of a body, but for the last chunk
	maxHead    = 4 << 20   // bytes of a head's file; its header is below 1 MiB
)

// Sealer keeps what a file holds from whoever reads the file. Its key is its own business; what it seals for a cache it should
// open only as such. Its methods may be called from several goroutines. They append what they make to dst, and keep neither.
type Sealer interface {
	Seal(dst, secret []byte) (sealed []byte, err error)
	// Open gives back what Seal got. The error is ErrDamaged where sealed is not what Seal made with this key. Any other
	// error says that there is no telling, such as a keyring that is locked: then the entry stays, and counts as missing.
	Open(dst, sealed []byte) (secret []byte, err error)
}

// ErrDamaged says that a file's content is not what was written, or was sealed with another key.
var ErrDamaged = errors.New("damaged, or sealed with another key")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encodeEntry is the content of an entry's file.
func encodeEntry(h *head, inline []byte, sealer Sealer) ([]byte, error) {
	payload, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	payload = append(append(payload, '\n'), inline...)
	if sealer != nil {
		if payload, err = sealer.Seal(nil, payload); err != nil {
			return nil, err
		}
	}
	if len(payload) > maxHead-len(fileKind)-32 {
		return nil, errTooLarge
	}
	line := fmt.Appendf(nil, "%s%08x %d\n", fileKind, crc32.Checksum(payload, castagnoli), len(payload))
	return append(line, payload...), nil
}

// MarshalJSON writes the bytes of fields and URL, which need not be UTF-8, as characters of the same numbers (ISO 8859-1):
// JSON has no bytes.
func (h *head) MarshalJSON() ([]byte, error) {
	type plain head
	n := plain(*h)
	n.URL, n.Header = widen(h.URL), make(http.Header, len(h.Header))
	for name, values := range h.Header {
		for _, v := range values {
			n.Header[widen(name)] = append(n.Header[widen(name)], widen(v))
		}
	}
	return json.Marshal(n)
}

func (h *head) UnmarshalJSON(data []byte) error {
	type plain head
	var n plain
	if err := json.Unmarshal(data, &n); err != nil {
		return err
	}
	*h = head(n)
	h.URL, h.Header = narrow(n.URL), make(http.Header, len(n.Header))
	for name, values := range n.Header {
		for _, v := range values {
			h.Header[narrow(name)] = append(h.Header[narrow(name)], narrow(v))
		}
	}
	return nil
}

func widen(s string) string {
	if isASCII(s) {
		return s
	}
	wide := make([]rune, len(s))
	for i := range len(s) {
		wide[i] = rune(s[i])
	}
	return string(wide)
}

// narrow is the reverse of widen. What widen cannot have made becomes a question mark.
func narrow(s string) string {
	if isASCII(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if r > 0xff {
			r = '?'
		}
		b.WriteByte(byte(r))
	}
	return b.String()
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// decodeEntry reads what encodeEntry made. inline aliases data where nothing is sealed. The error is ErrDamaged, or the Sealer's.
func decodeEntry(data []byte, sealer Sealer) (h *head, inline []byte, err error) {
	line, payload, ok := bytes.Cut(data, []byte("\n"))
	if !ok || string(line) != fmt.Sprintf("%s%08x %d", fileKind, crc32.Checksum(payload, castagnoli), len(payload)) {
		return nil, nil, ErrDamaged
	}
	if sealer != nil {
		if payload, err = sealer.Open(nil, payload); err != nil {
			return nil, nil, err
		}
	}
	first, inline, ok := bytes.Cut(payload, []byte("\n"))
	h = new(head)
	if !ok || json.Unmarshal(first, h) != nil || h.Length < 0 || h.Status < 200 || h.Status > 999 {
		return nil, nil, ErrDamaged
	}
	if h.Body == "" {
		if int64(len(inline)) != h.Length {
			return nil, nil, ErrDamaged
		}
	} else if len(inline) > 0 || !validRandom(h.Body) || int64(len(h.Chunks)/chunkRecord) != (h.Length+chunkSize-1)/chunkSize || len(h.Chunks)%chunkRecord != 0 {
		return nil, nil, ErrDamaged
	}
	return h, inline, nil
}

// chunkRecord is what a head says of each chunk of its body: how many bytes of the file it takes, and their CRC-32C.
const chunkRecord = 8

func appendChunk(records, content []byte) []byte {
	records = binary.BigEndian.AppendUint32(records, uint32(len(content)))
	return binary.BigEndian.AppendUint32(records, crc32.Checksum(content, castagnoli))
}

func chunkAt(records []byte, i int) (size int64, sum uint32) {
	r := records[i*chunkRecord:]
	return int64(binary.BigEndian.Uint32(r)), binary.BigEndian.Uint32(r[4:])
}

// bodySize is what the body's file measures.
func (h *head) bodySize() (n int64) {
	for i := range len(h.Chunks) / chunkRecord {
		size, _ := chunkAt(h.Chunks, i)
		n += size
	}
	return n
}

// parseKey reads a key in a file's name, where it is in base64: see disk.path.
func parseKey(s string) (k key, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != len(k) {
		return k, false
	}
	copy(k[:], b)
	return k, true
}

const randomLength = 26 // bytes of rand.Text

func validRandom(s string) bool {
	if len(s) != randomLength {
		return false
	}
	for i := range len(s) {
		if !('A' <= s[i] && s[i] <= 'Z' || '2' <= s[i] && s[i] <= '7') {
			return false
		}
	}
	return true
}
