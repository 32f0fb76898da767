package task_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

func TestErrorIsItsCodeAndItsCause(t *testing.T) {
	err := fmt.Errorf("wrapped: %w", &task.Error{Op: "download", URL: "http://h/f", Code: task.ConnectionLost, Err: io.ErrUnexpectedEOF})
	if !errors.Is(err, task.ConnectionLost) || !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, task.TimedOut) {
		t.Errorf("errors.Is on %v", err)
	}
	if got, want := err.Error(), "wrapped: download http://h/f: connection lost (-1005): unexpected EOF"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if task.CodeOf(err) != task.ConnectionLost || task.CodeOf(nil) != 0 || task.CodeOf(io.EOF) != task.Unknown {
		t.Error("CodeOf")
	}
}

// TestFailureInAText: events tell a failure in words alone, and its error says none of them twice.
func TestFailureInAText(t *testing.T) {
	for _, err := range []*task.Error{
		{Op: "download", URL: "http://h/f", Code: task.BadServerResponse, Status: 404, Err: io.ErrUnexpectedEOF},
		{Op: "download to", URL: "/a: b", Code: task.DestinationExists, Err: errors.New("x: destination exists (-4002): y")},
		{Code: task.Cancelled},
		{Code: task.TimedOut, Err: errors.New("no byte")},
	} {
		f := task.FailureIn(err.Code, err.Status, err.Error())
		if f.Text() != err.Error() || f.Code != err.Code || f.Status != err.Status || err.Err != nil && f.Message != err.Err.Error() {
			t.Errorf("%q became %#v", err, f)
		}
	}
	if f := task.FailureIn(task.Cancelled, 0, "words: cancelled (-999)!"); f.Message != "words: cancelled (-999)!" || f.Op != "" {
		t.Errorf("%#v", f)
	}
}

func TestFailureSurvivesTheWire(t *testing.T) {
	err := &task.Error{Op: "download", URL: "http://h/f", Code: task.BadServerResponse, Status: 404, Err: io.ErrUnexpectedEOF}
	live := task.FailureOf(err)
	if !errors.Is(live.Err(), io.ErrUnexpectedEOF) || live.Text() != err.Error() {
		t.Errorf("in process: %v", live.Err())
	}
	b, e := json.Marshal(live)
	if e != nil {
		t.Fatal(e)
	}
	var f task.Failure
	if e := json.Unmarshal(b, &f); e != nil {
		t.Fatal(e)
	}
	got, _ := errors.AsType[*task.Error](f.Err())
	if got.Code != err.Code || got.Status != 404 || got.Error() != err.Error() {
		t.Errorf("over the wire: %#v", got)
	}
	if task.FailureOf(nil) != nil || (*task.Failure)(nil).Err() != nil {
		t.Error("no failure became one")
	}
}

func TestEveryCodeHasAName(t *testing.T) {
	for c := task.Code(-4005); c < 0; c++ {
		if s := c.Error(); strings.HasPrefix(s, "error ") && known[c] {
			t.Errorf("%d has no name", int(c))
		}
	}
}

// known are the codes of the contract, §5.
var known = func() map[task.Code]bool {
	m := map[task.Code]bool{}
	for _, c := range []int{-1, -995, -996, -997, -999, -1000, -1001, -1002, -1003, -1004, -1005, -1006, -1007, -1008, -1009, -1010, -1011, -1012, -1013, -1014, -1015, -1016, -1017, -1018, -1020, -1021, -1022, -1100, -1101, -1102, -1103, -2000, -3000, -3001, -3002, -3003, -3004, -3005, -3006, -3007, -1200, -1201, -1202, -1203, -1204, -1205, -1206, -4001, -4002, -4003, -4004, -4005} {
		m[task.Code(c)] = true
	}
	return m
}()

func TestEventsOnTheWire(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for _, c := range []struct {
		detail task.Detail
		json   string
	}{
		{task.DownloadProgress{Written: 1, Total: 2}, `"bytesWritten":1,"totalBytesWritten":2,"totalBytesExpectedToWrite":0`},
		{task.UploadProgress{Sent: 1, Total: 2, Expected: 3}, `"bytesSent":1,"totalBytesSent":2,"totalBytesExpectedToSend":3`},
		{task.DataReceived{Data: []byte("x")}, `"data":"eA=="`},
		{task.EventsCompleted{}, ``},
		{task.Gap{From: 1, To: 4}, `"from":1,"to":4`},
		{task.ResponseReceived{URL: "http://h/", Status: 200, Header: http.Header{"A": {"b"}}, Expected: -1}, `"url":"http://h/","statusCode":200,"header":{"A":["b"]},"expectedContentLength":-1`},
		{task.Redirected{Status: 301, From: "a", To: "b", Ticket: "1-1"}, `"statusCode":301,"from":"a","to":"b","ticket":"1-1"`},
		{task.Waiting{Reason: task.WaitRetry, Until: at}, `"reason":"retry","until":"2026-01-02T03:04:05.000000006Z"`},
		{task.WillRetry{Attempt: 1, At: at, Code: -1005, Message: "m"}, `"attempt":1,"at":"2026-01-02T03:04:05.000000006Z","errorCode":-1005,"message":"m"`},
		{task.Metrics{Attempt: 1, Transactions: []task.Transaction{{URL: "u", Method: "GET", Start: at, TLS: 5}}}, `"attempt":1,"transactions":[{"url":"u","method":"GET","start":"2026-01-02T03:04:05.000000006Z","tlsNanoseconds":5}]`},
		{task.DownloadCompleted{Path: "/f"}, `"path":"/f"`},
		{task.SessionCompleted{Success: true, Status: 200}, `"success":true,"errorCode":0,"statusCode":200`},
		{task.BackgroundTransfer{SessionID: "s"}, `"sessionId":"s"`},
		{task.Invalidated{}, ``},
	} {
		ev := task.Event{Session: "s", Task: 3, Sequence: 17, Time: at, Detail: c.detail}
		b, err := json.Marshal(ev)
		if err != nil {
			t.Fatal(err)
		}
		want := `{"event":"` + c.detail.EventName() + `","sessionIdentifier":"s","taskIdentifier":3,"sequence":17,"time":"2026-01-02T03:04:05.000000006Z"`
		if c.json != "" {
			want += "," + c.json
		}
		if want += "}"; string(b) != want {
			t.Errorf("%s\nwant %s", b, want)
		}
		var back task.Event
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(back, ev) {
			t.Errorf("%+v came back as %+v", ev, back)
		}
	}
}

func TestUnknownEventIsAnError(t *testing.T) {
	var ev task.Event
	if err := json.Unmarshal([]byte(`{"event":"surprise"}`), &ev); err == nil || !strings.Contains(err.Error(), "surprise") {
		t.Errorf("%v", err)
	}
}

func FuzzEvent(f *testing.F) {
	f.Add([]byte(`{"event":"gap","sessionIdentifier":"","time":"2026-01-02T03:04:05Z","from":1,"to":2}`))
	f.Add([]byte(`{"event":"metrics","transactions":[{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var ev task.Event
		if json.Unmarshal(data, &ev) == nil {
			if _, err := json.Marshal(ev); err != nil && ev.Time.Year() >= 0 && ev.Time.Year() <= 9999 {
				t.Errorf("%s was read but cannot be written: %v", data, err)
			}
		}
	})
}

func TestRedact(t *testing.T) {
	for raw, want := range map[string]string{
		"http://h/p":                       "http://h/p",
		"http://user:pw@h/p":               "http://h/p",
		"http://h/p?sig=x&y=z":             "http://h/p?REDACTED",
		"http://h/p#frag":                  "http://h/p",
		"https://token@h:8/p?a=b#c":        "https://h:8/p?REDACTED",
		"http://user:p%zzw@h/\x7f?sig=x#y": "h/\x7f",
		"/relative?sig=x":                  "/relative?REDACTED",
		"user:secret@host/x?y":             "host/x?REDACTED",
		"localhost:8080/x":                 "localhost:8080/x",
	} {
		if got := task.Redact(raw); got != want {
			t.Errorf("Redact(%q) is %q, want %q", raw, got, want)
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("http://", "@h/?")
	f.Add("http://a:", "@h/%zz")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "Sxecret9"
		// Wherever a parser sees userinfo or a query, the secret is in neither.
		for _, raw := range []string{"http://u:" + secret + "@h/" + before, "http://h/" + strings.NewReplacer("?", "", "#", "").Replace(after) + "?" + secret} {
			if got := task.Redact(raw); strings.Contains(got, secret) {
				t.Errorf("Redact(%q) is %q", raw, got)
			}
		}
	})
}

func TestRedactHeader(t *testing.T) {
	h := http.Header{"Set-Cookie": {"a=secret", "b=secret"}, "Location": {"http://u:secret@h/?secret"}, "Etag": {`"x"`},
		"X-Auth-Token": {"secret"}, "X-Api-Key": {"secret"}, "Link": {`<http://h/a?secret>; rel=next, </b>; rel=prev`}}
	got := task.RedactHeader(h)
	if s := fmt.Sprint(got); strings.Contains(s, "secret") || got.Get("Etag") != `"x"` {
		t.Errorf("%v", got)
	}
	if l := got.Get("Link"); l != "<http://h/a?REDACTED>; rel=next, </b>; rel=prev" {
		t.Errorf("Link: %s", l)
	}
	if h.Get("Set-Cookie") != "a=secret" {
		t.Error("the header itself was changed")
	}
}

func TestResumeData(t *testing.T) {
	d := &task.ResumeData{Version: 1, URL: "http://h/f?sig=x", Destination: "f", Path: "/tmp/f", Part: "/tmp/f.0.part", ETag: `"x"`, Total: 10, Held: [][2]int64{{0, 4}, {6, 8}}}
	back, err := task.ParseResumeData(d.Encode())
	if err != nil || !reflect.DeepEqual(back, d) {
		t.Fatalf("%+v, %v", back, err)
	}
	for name, spoil := range map[string]func(*task.ResumeData){
		"version":       func(d *task.ResumeData) { d.Version = 2 },
		"no URL":        func(d *task.ResumeData) { d.URL = "" },
		"relative part": func(d *task.ResumeData) { d.Part = "f.part" },
		"relative path": func(d *task.ResumeData) { d.Path = "f" },
		"total":         func(d *task.ResumeData) { d.Total = -2 },
		"beyond total":  func(d *task.ResumeData) { d.Held = [][2]int64{{0, 11}} },
		"empty range":   func(d *task.ResumeData) { d.Held = [][2]int64{{3, 3}} },
		"overlap":       func(d *task.ResumeData) { d.Held = [][2]int64{{0, 5}, {4, 8}} },
		"touching":      func(d *task.ResumeData) { d.Held = [][2]int64{{0, 4}, {4, 8}} },
		"negative":      func(d *task.ResumeData) { d.Held = [][2]int64{{-1, 4}} },
	} {
		bad := *d
		bad.Held = append([][2]int64(nil), d.Held...)
		spoil(&bad)
		if _, err := task.ParseResumeData(bad.Encode()); !errors.Is(err, task.ResumeDataUnusable) {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), "sig") {
			t.Errorf("%s: a secret in %v", name, err)
		}
	}
}

func FuzzResumeData(f *testing.F) {
	f.Add([]byte(`{"version":1,"url":"http://h/","part":"/p","total":3,"held":[[0,1]]}`))
	f.Add([]byte(`{"version":1,"url":"http://h/","part":"/p","total":-1,"held":[[9223372036854775806,9223372036854775807]]}`))
	f.Add([]byte(`null`))
	for _, of := range []func(*task.Record){func(*task.Record) {}, tusParts, multipart} {
		f.Add(task.UploadResumeData(uploaded(of)).Encode())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := task.ParseResumeData(data)
		if err != nil {
			if !errors.Is(err, task.ResumeDataUnusable) {
				t.Errorf("%v", err)
			}
			return
		}
		if _, err := task.ParseResumeData(d.Encode()); err != nil {
			t.Errorf("%s is read but not what it is written as: %v", data, err)
		}
	})
}
