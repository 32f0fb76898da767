package urlsession

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

type later struct{}

func (later) EventName() string { return "later" }

func TestEventsAreConverted(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	cause := errors.New("cause")
	failure := task.FailureOf(&task.Error{Op: "download", URL: "http://h/f", Code: task.TimedOut, Status: 504, Err: cause})
	for _, c := range []struct {
		detail task.Detail
		want   func(Envelope) Event
		wire   string
	}{
		{task.DownloadProgress{Written: 1, Total: 2, Expected: 3}, func(e Envelope) Event { return DownloadProgress{e, 1, 2, 3} },
			`"bytesWritten":1,"totalBytesWritten":2,"totalBytesExpectedToWrite":3`},
		{task.DownloadProgress{Written: 1, Total: 2}, func(e Envelope) Event { return DownloadProgress{e, 1, 2, -1} },
			`"totalBytesExpectedToWrite":0`},
		{task.UploadProgress{Sent: 1, Total: 2, Expected: 3}, func(e Envelope) Event { return UploadProgress{e, 1, 2, 3, false} },
			`"bytesSent":1,"totalBytesSent":2,"totalBytesExpectedToSend":3`},
		{task.UploadProgress{Sent: 1, Total: 2, Expected: 3, Confirmed: true}, func(e Envelope) Event { return UploadProgress{e, 1, 2, 3, true} },
			`"confirmed":true`},
		{task.UploadProgress{Sent: 1, Total: 2}, func(e Envelope) Event { return UploadProgress{e, 1, 2, -1, false} }, `"totalBytesExpectedToSend":0`},
		{task.DataReceived{Data: []byte("x")}, func(e Envelope) Event { return DataReceived{e, []byte("x")} }, `"data":"eA=="`},
		{task.ResponseReceived{URL: "u", Status: 200, Header: http.Header{"A": {"b"}}, Expected: -1},
			func(e Envelope) Event { return ResponseReceived{e, "u", 200, http.Header{"A": {"b"}}, -1} }, `"statusCode":200`},
		{task.Redirected{Status: 302, From: "a", To: "b"}, func(e Envelope) Event { return Redirected{e, 302, "a", "b"} }, `"from":"a","to":"b"`},
		{task.Waiting{Reason: task.WaitRetry, Detail: "d", Until: at}, func(e Envelope) Event { return Waiting{e, WaitRetry, "d", at} }, `"reason":"retry"`},
		{task.WillRetry{Attempt: 1, At: at, Code: task.TimedOut, Message: "m", Status: 504},
			func(e Envelope) Event {
				return WillRetry{e, 1, at, &Error{Code: ErrTimedOut, StatusCode: 504, Err: errors.New("m")}}
			}, `"errorCode":-1001`},
		{task.Metrics{Attempt: 1, Transactions: []task.Transaction{{URL: "u", Method: "GET", Status: 200, Proto: "HTTP/2.0", Remote: "r", Reused: true, Fetch: task.FetchValidated, Start: at, DNS: 1, Connect: 2, TLS: 3, FirstByte: 4, End: 5}}},
			func(e Envelope) Event {
				return Metrics{e, 1, []Transaction{{"u", "GET", 200, "HTTP/2.0", "r", true, FetchValidated, at, 1, 2, 3, 4, 5}}}
			}, `"fetchType":"validated","start":"`},
		{task.DownloadCompleted{Path: "/f", Digest: "d"}, func(e Envelope) Event { return DownloadCompleted{e, "/f", "d"} }, `"path":"/f","digest":"d"`},
		{task.SessionCompleted{Success: true, Status: 200, Text: "t"}, func(e Envelope) Event { return Completed{e, nil, 200, "t"} },
			`"success":true,"errorCode":0,"statusCode":200,"responseText":"t"`},
		{task.SessionCompleted{Code: failure.Code, Message: failure.Text(), Status: 504, Failure: failure},
			func(e Envelope) Event {
				return Completed{e, &Error{Op: "download", URL: "http://h/f", Code: ErrTimedOut, StatusCode: 504, Err: cause}, 504, ""}
			}, `"success":false,"errorCode":-1001,"message":"download http://h/f: timed out (-1001): cause"`},
		{task.SessionCompleted{Code: task.TimedOut, Message: "m"}, // as it comes over a wire
			func(e Envelope) Event { return Completed{e, &Error{Code: ErrTimedOut, Err: errors.New("m")}, 0, ""} }, `"message":"m"`},
		{task.SessionCompleted{Code: failure.Code, Message: failure.Text()},
			func(e Envelope) Event {
				return Completed{e, &Error{Op: "download http://h/f", Code: ErrTimedOut, Err: errors.New("cause")}, 0, ""}
			}, `"message":"download http://h/f: timed out (-1001): cause"`},
		{task.BackgroundTransfer{SessionID: "s"}, func(e Envelope) Event { return BackgroundTransfer{e} }, `"sessionId":"s"`},
		{task.EventsCompleted{}, func(e Envelope) Event { return EventsCompleted{e} }, ``},
		{task.Invalidated{}, func(e Envelope) Event { return Invalidated{e} }, ``},
		{task.Gap{From: 1, To: 2}, func(e Envelope) Event { return Gap{e, 1, 2} }, `"from":1,"to":2`},
	} {
		ev := task.Event{Session: "s", Task: 3, Sequence: 17, Time: at, Detail: c.detail}
		got := publicEvent(ev)
		if want := c.want(Envelope{ev}); !reflect.DeepEqual(got, want) {
			t.Errorf("%+v became %+v, want %+v", c.detail, got, want)
			continue
		}
		if got.Name() != c.detail.EventName() || got.Task() != 3 || got.Sequence() != 17 || got.Time() != at {
			t.Errorf("%T has the envelope %q %d %d %v", got, got.Name(), got.Task(), got.Sequence(), got.Time())
		}
		wire, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{`"event":"` + c.detail.EventName() + `"`, `"sessionIdentifier":"s"`, `"taskIdentifier":3`, `"sequence":17`, `"time":"2026-01-02T03:04:05.000000006Z"`, c.wire} {
			if !strings.Contains(string(wire), part) {
				t.Errorf("%s lacks %s", wire, part)
			}
		}
	}
	if ev := publicEvent(task.Event{Detail: later{}}); ev != nil {
		t.Errorf("a kind of a later version became %T", ev)
	}
	if b, err := json.Marshal(Completed{}); err != nil || string(b) != "null" || (Completed{}).Name() != "" {
		t.Errorf("an event made by hand is %s, %v", b, err)
	}
}
