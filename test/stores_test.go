package test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/urlsession/urlsession/urlsessiontest"
)

// store VAR starts a store of objects that come in parts, of any size.
func store(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: store VAR")
	}
	srv := urlsessiontest.NewMultipartServer(urlsessiontest.MinimumPart(1))
	ts.Defer(srv.Close)
	stateOf(ts).stores[args[0]] = srv
}

// plan VAR KEY PARTS FILE [FIELD=JSON...] begins an object, and writes where its parts go into FILE, for upload --multipart. A
// field is set, or with FIELD= left out.
func plan(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 || stateOf(ts).stores[args[0]] == nil {
		ts.Fatalf("usage: plan VAR KEY PARTS FILE [FIELD=JSON...]")
	}
	m := stateOf(ts).stores[args[0]].Create(args[1], int(size(ts, args[2])))
	stateOf(ts).objects[args[1]] = m
	p := map[string]any{"parts": m.Parts, "complete": m.Complete, "abort": m.Abort}
	for _, field := range args[4:] {
		name, value, _ := strings.Cut(field, "=")
		if p[name] = json.RawMessage(value); value == "" {
			delete(p, name)
		}
	}
	ts.Setenv("COMPLETE", m.Complete)
	text, err := json.Marshal(p)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[3]), text, 0o600))
}

// fails KEY PART STATUS has the store refuse each request for the part, 0 being the completion, until it is called with STATUS 0.
func fails(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: fails KEY PART STATUS")
	}
	var step urlsessiontest.UploadStep
	if status := int(size(ts, args[2])); status != 0 {
		step = urlsessiontest.UploadStatus(status)
	}
	object(ts, args[0]).Always(int(size(ts, args[1])), step)
}

// stalls KEY PART has the store take a little of the part, and then nothing of it any more.
func stalls(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: stalls KEY PART")
	}
	object(ts, args[0]).Always(int(size(ts, args[1])), urlsessiontest.UploadStall(1000, urlsessiontest.Forever))
}

// begun VAR N waits until the store has been sent N requests.
func begun(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 || stateOf(ts).stores[args[0]] == nil {
		ts.Fatalf("usage: begun VAR N")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ts.Check(stateOf(ts).stores[args[0]].WaitRequests(ctx, int(size(ts, args[1]))))
}

// completed KEY SEED SIZE expects that the object is that body; with ! that it is none.
func completed(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: [!] completed KEY SEED SIZE")
	}
	if err := object(ts, args[0]).Check(bodyOf(ts, args[1:])); neg == (err == nil) {
		ts.Fatalf("object %s: %v", args[0], err)
	}
}

// held KEY prints the parts that the store has of an object, and what has become of it.
func held(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: held KEY")
	}
	m := object(ts, args[0])
	states := map[urlsessiontest.MultipartState]string{
		urlsessiontest.MultipartOpen: "open", urlsessiontest.MultipartCompleted: "completed", urlsessiontest.MultipartAborted: "aborted",
	}
	fmt.Fprintln(ts.Stdout(), states[m.State()], m.Held())
}

// stored VAR prints what a store was asked, a line a request.
func stored(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 || stateOf(ts).stores[args[0]] == nil {
		ts.Fatalf("usage: stored VAR")
	}
	out := ts.Stdout()
	for _, r := range stateOf(ts).stores[args[0]].Requests() {
		fmt.Fprintf(out, "%s %s status=%d user-agent=%s x-test=%s\n", r.Method, r.Target, r.Status, r.Header.Get("User-Agent"), r.Header.Get("X-Test"))
	}
}

func object(ts *testscript.TestScript, key string) *urlsessiontest.Multipart {
	m := stateOf(ts).objects[key]
	if m == nil {
		ts.Fatalf("no object called %q", key)
	}
	return m
}
