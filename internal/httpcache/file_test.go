package httpcache

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"reflect"
	"testing"
	"time"
)

func sampleHead(length int64) *head {
	h := &head{
		ID: []byte("0123456789abcdef"), URL: page, Status: 200, Proto: "HTTP/2.0", Header: http.Header{"Etag": {`"1"`}, "X-Bytes": {"\xff\u00fc"}},
		Requested: time.Unix(1e9, 5).UTC(), Received: time.Unix(1e9, 7).UTC(), Length: length,
	}
	h.selectBy(http.Header{"Authorization": {"secret"}})
	return h
}

func TestEntryFile(t *testing.T) {
	t.Parallel()
	for name, sealer := range map[string]Sealer{"plain": nil, "sealed": newSealer("key")} {
		data, err := encodeEntry(sampleHead(4), []byte("b\no\n"), sealer)
		if err != nil {
			t.Fatal(err)
		}
		h, inline, err := decodeEntry(data, sealer)
		if err != nil || string(inline) != "b\no\n" || !h.selects(http.Header{"Authorization": {"secret"}}) || h.Received != time.Unix(1e9, 7).UTC() || h.Header.Get("X-Bytes") != "\xff\u00fc" {
			t.Errorf("%s: %+v %q %v", name, h, inline, err)
		}
		if bytes.Contains(data, []byte("secret")) {
			t.Errorf("%s: the file has the request's credentials", name)
		}
		for i := range data { // any byte that is another, and any end that comes too early
			changed := bytes.Clone(data)
			changed[i] ^= 1
			if _, _, err := decodeEntry(changed, sealer); err != ErrDamaged {
				t.Fatalf("%s: byte %d is another: %v", name, i, err)
			}
			if _, _, err := decodeEntry(data[:i], sealer); err != ErrDamaged {
				t.Fatalf("%s: cut after %d bytes: %v", name, i, err)
			}
		}
	}
	data, _ := encodeEntry(sampleHead(0), nil, newSealer("key"))
	if _, _, err := decodeEntry(data, newSealer("other")); err != ErrDamaged {
		t.Errorf("with another key: %v", err)
	}
}

func FuzzEntry(f *testing.F) {
	small, _ := encodeEntry(sampleHead(4), []byte("body"), nil)
	f.Add(small, []byte("{}"))
	large := sampleHead(chunkSize + 1)
	large.Body, large.Chunks = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", appendChunk(appendChunk(nil, []byte("a")), []byte("b"))
	data, _ := encodeEntry(large, nil, nil)
	f.Add(data, []byte(`{"status":200,"length":-1}`))
	f.Add([]byte(fileKind+"00000000 0\n"), []byte(`{"status":200,"body":"../../x"}`))
	f.Add([]byte{}, []byte(`{"status":200,"header":{"Age":null,"Date":[]}}`))
	f.Fuzz(func(t *testing.T, raw, payload []byte) {
		decodeEntry(raw, nil)
		// With a right sum, as only malice makes one.
		data, err := encodeEntry(&head{}, nil, constant(append(payload, '\n')))
		if err != nil {
			t.Fatal(err)
		}
		h, inline, err := decodeEntry(data, nil)
		if err != nil {
			return
		}
		if h.Body == "" && int64(len(inline)) != h.Length || h.Body != "" && !validRandom(h.Body) {
			t.Errorf("%+v was accepted", h)
		}
		h.bodySize()
		h.lifetime()
		h.age(time.Now())
		again, err := encodeEntry(h, inline, nil)
		if err != nil {
			t.Fatal(err)
		}
		if h2, _, err := decodeEntry(again, nil); err != nil || !reflect.DeepEqual(h.Header, h2.Header) {
			t.Errorf("written again: %v", err)
		}
	})
}

// constant seals whatever it gets into the same.
type constant []byte

func (c constant) Seal(_, _ []byte) ([]byte, error) { return c, nil }
func (c constant) Open(_, b []byte) ([]byte, error) { return b, nil }

func TestFileNames(t *testing.T) {
	t.Parallel()
	k := key{1, 2, 250}
	random := "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for name, want := range map[string]kind{
		k.fileName() + ".0": entryFile, k.fileName() + ".7": entryFile, k.fileName() + ".3." + random: bodyOfEntry, random + ".tmp": temporaryFile,
		k.fileName() + ".8": foreign, k.fileName() + ".00": foreign, k.fileName() + ".+1": foreign, k.fileName(): foreign, k.fileName() + ".0.x": foreign,
		"x.tmp": foreign, "": foreign, ".": foreign, "notes.txt": foreign,
	} {
		got, k2, _, _ := parseFileName(name)
		if got != want || (want == entryFile || want == bodyOfEntry) && k2 != k {
			t.Errorf("%q is %d, want %d", name, got, want)
		}
	}
}

func (k key) fileName() string { return base64.RawURLEncoding.EncodeToString(k[:]) }
