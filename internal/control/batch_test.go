package control

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

func batchOf(n int) Batch {
	b := Batch{Key: "KEY"}
	for i := range n {
		b.Tasks = append(b.Tasks, task.Spec{
			Kind: task.Download, Request: task.Request{Method: "GET", URL: fmt.Sprintf("http://h/%d?a=1&b=2", i)},
			Policy: task.Policy{ResourceTimeout: time.Hour, Retries: -1}, Download: &task.DownloadSpec{Path: fmt.Sprintf("/ü/%d", i)},
		})
	}
	return b
}

// TestBatchJSON: a batch is written as json.Marshal writes it, and read as json.Unmarshal does.
func TestBatchJSON(t *testing.T) {
	for _, n := range []int{1, 2, 1000, MaxBatch} {
		for _, key := range []string{"", "KEY", `a "key" & ünïcode`} {
			b := batchOf(n)
			b.Key = key
			data, err := b.encode()
			if err != nil {
				t.Fatal(err)
			}
			if want, _ := json.Marshal(b); string(data) != string(want) {
				t.Fatalf("%.300s\nwant %.300s", data, want)
			}
			var back Batch
			if !back.ScanJSON(data) || !reflect.DeepEqual(back, b) {
				t.Fatalf("%d tasks with the key %q are not read, or not as they were", n, key)
			}
		}
	}
}

// TestBatchJSONLeavesTheRest to package json, and holds nothing of it.
func TestBatchJSONLeavesTheRest(t *testing.T) {
	const one = `{"kind":"data"}`
	tooMany := batchOf(MaxBatch + 1)
	data, err := tooMany.encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		``, `{`, `{}`, `null`, `[` + one + `]`, `{"tasks":[]}`, `{"tasks":[` + one + `,]}`, `{"tasks":[` + one + one + `]}`, `{"tasks":[` + one + `]`, `{"tasks":[` + one + `]}}`,
		`{"tasks":[` + one + `]} `, `{"tasks":[` + one + `],"key":"k"}`, `{"key":"k""tasks":[` + one + `]}`, `{"key":1,"tasks":[` + one + `]}`, `{"tasks":[{"surprise":1}]}`,
		string(data),
	} {
		b := batchOf(1)
		if b.ScanJSON([]byte(text)) || !reflect.DeepEqual(b, Batch{}) {
			t.Errorf("%.100s was read as %d tasks", text, len(b.Tasks))
		}
	}
}
