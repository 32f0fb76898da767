package control

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestFrames(t *testing.T) {
	for _, c := range []struct {
		in, want string
		err      error
	}{
		{"data: a\n\n", "|a;", io.EOF},
		{"id: 7\ndata: a\n\nid: 8\n\n", "7|a;8|;", io.EOF},
		{"event: end\ndata: {}\n\n", "|end|{};", io.EOF},
		{": heartbeat\n\n: another\n\ndata:b\n\n", "|b;", io.EOF},
		{"data: a\r\ndata: b\r\nretry: 1\r\n\r\n", "|a\nb;", io.EOF},
		{"data: a\n\ndata: b\n", "|a;", io.ErrUnexpectedEOF},
		{"data: a\n\ndat", "|a;", io.ErrUnexpectedEOF},
		{"id: x\n\n", "", errFrame},
		{"id: -1\n\n", "", errFrame},
		{"id: 18446744073709551616\n\n", "", errFrame},
		{"data: " + strings.Repeat("x", maxFrame+1) + "\n\n", "", errFrame},
		{strings.Repeat("data: "+strings.Repeat("x", 1<<16)+"\n", 65), "", errFrame},
		{strings.Repeat("x", 2*maxFrame), "", errFrame},
	} {
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(c.in), "byte by byte": iotest.OneByteReader(strings.NewReader(c.in))} {
			in, got := newFrames(r), ""
			for {
				f, err := in.next()
				if err != nil {
					if !errors.Is(err, c.err) {
						t.Errorf("%.40q, %s: %v, want %v", c.in, name, err, c.err)
					}
					break
				}
				if f.hasID {
					got += string(rune('0' + f.id))
				}
				if f.name != "" {
					got += "|" + f.name
				}
				got += "|" + string(f.data) + ";"
			}
			if got != c.want {
				t.Errorf("%.40q, %s: %q, want %q", c.in, name, got, c.want)
			}
		}
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte("id: 7\ndata: {}\n\n: c\n\nevent: end\ndata: {}\n\n"))
	f.Add([]byte("data: a\r\ndata: b\n\n\n\nid:\n\n"))
	f.Add([]byte(":\n::\ndata\n\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		fs := newFrames(strings.NewReader(string(in)))
		for range len(in) + 1 {
			fr, err := fs.next()
			if err != nil {
				if err != io.EOF && err != io.ErrUnexpectedEOF && !errors.Is(err, errFrame) {
					t.Errorf("%v", err)
				}
				return
			}
			if len(fr.data) > len(in) {
				t.Errorf("%d bytes of data from %d", len(fr.data), len(in))
			}
		}
		t.Error("more frames than bytes")
	})
}
