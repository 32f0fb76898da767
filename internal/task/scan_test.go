package task_test

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/urlsession/urlsession/internal/task"
)

// strict is a spec as the daemon reads it.
func strict(data []byte) (s task.Spec, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err = d.Decode(&s); err == nil {
		if _, end := d.Token(); end != io.EOF {
			err = io.ErrNoProgress
		}
	}
	return s, err
}

// TestScanJSON: what AppendJSON writes is read, and as package json reads it.
func TestScanJSON(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for i := range 3000 {
		var s, got task.Spec
		fill(rnd, []float64{1, .5, .1}[i%3], reflect.ValueOf(&s))
		data, err := s.AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		want, err := strict(data)
		if err != nil {
			t.Fatal(err)
		}
		rest, ok := got.ScanJSON(append(data, ",rest"...))
		if !ok || string(rest) != ",rest" || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s\nis read as %+v, %v, with %q after it\nwant %+v", data, got, ok, rest, want)
		}
	}
}

// TestScanJSONLeavesTheRest to package json: another order, space, what is unknown, and what is no JSON.
func TestScanJSONLeavesTheRest(t *testing.T) {
	for _, data := range []string{
		``, `{`, `null`, `[]`, `{"kind":"data"`, `{"kind":"data",}`, `{,"kind":"data"}`, `{"kind":"data""key":"k"}`, `{ "kind":"data"}`, `{"Kind":"data"}`,
		`{"key":"k","kind":"data"}`, `{"kind":"data","kind":"data"}`, `{"surprise":1}`, `{"kind":"data","policy":{"surprise":1}}`,
		`{"kind":1}`, `{"kind":"`, `{"kind":"\x"}`, `{"limit":01}`, `{"limit":-01}`, `{"limit":-}`, `{"limit":}`, `{"limit":1.5}`, `{"limit":1e3}`, `{"limit":9223372036854775808}`,
		`{"suspended":yes}`, `{"suspended":null}`, `{"priority":"high"}`, `{"earliestBegin":"soon"}`, `{"request":{"header":{"A":"no list"}}}`,
		`{"request":{"body":{"size":1,"surprise":2}}}`,
	} {
		s := task.Spec{Key: "before"}
		if _, ok := s.ScanJSON([]byte(data)); ok || !reflect.DeepEqual(s, task.Spec{}) {
			t.Errorf("%s was read as %+v", data, s)
		}
	}
}

func FuzzScanJSON(f *testing.F) {
	rnd := rand.New(rand.NewPCG(7, 8))
	for _, p := range []float64{1, .5, .1} {
		var s task.Spec
		fill(rnd, p, reflect.ValueOf(&s))
		data, err := s.AppendJSON(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"kind":"data","limit":-0,"policy":{"retries":00}}`))
	f.Add([]byte(`{"download":{"path":"\u0026"},"stream":true}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var got task.Spec
		rest, ok := got.ScanJSON(data)
		if !ok {
			return
		}
		read := data[:len(data)-len(rest)]
		want, err := strict(read)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s was read as %+v, and package json says %+v, %v", read, got, want, err)
		}
	})
}

func BenchmarkScanJSON(b *testing.B) {
	s := task.Spec{Kind: task.Download, Key: "ABCDEFGHIJKLMNOPQRSTUVWXYZ/1234", Configuration: 1,
		Request:  task.Request{Method: "GET", URL: "http://download.example.com/data/part-1234.bin"},
		Policy:   task.Policy{RequestTimeout: 6e10, ResourceTimeout: 7e15, Retries: -1, WaitsForConnectivity: true, AllowsExpensive: true},
		Download: &task.DownloadSpec{Destination: "data/part-1234.bin", Path: "/home/user/data/part-1234.bin"}}
	data, err := s.AppendJSON(nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("scan", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := s.ScanJSON(data); !ok {
				b.Fatal("it is not read")
			}
		}
	})
	b.Run("json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := strict(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
