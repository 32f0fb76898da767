package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/task"
)

func whole(ctx context.Context, s store.Store) error {
	at := time.Date(2031, 2, 3, 4, 5, 6, 789, time.UTC)
	url := "https://user:password@example.com/a?query=1#fragment"
	header := http.Header{"Authorization": {"Bearer x"}, "Accept": {"a", "b"}, "X-Empty": {""}}
	resume := &task.ResumeData{Version: 1, URL: url, Destination: "a", Path: "/a", Part: "/a.part", ETag: `"e"`, Total: 9, Held: [][2]int64{{0, 4}}}
	left := *resume
	left.Upload = &task.UploadResume{Method: "POST", Resumable: task.ResumableTus, Multipart: &task.Multipart{Parts: []string{url}, PartSize: 8},
		RetryUnsafe: true, FailOnHTTPError: true, Path: "/b", Source: task.Source{Size: 3, ModTime: at, Device: 1 << 63, Inode: 2},
		State: task.UploadState{Protocol: task.ResumableTus, URL: "https://example.com/uploads/secret", Offset: 1}}
	failure := &task.Failure{Code: task.TimedOut, Op: "download", URL: "https://example.com/a", Status: 504, Message: "<no byte>"}
	challenge := task.Challenge{Space: task.ProtectionSpace{Proxy: true, Scheme: "https", Host: "h", Port: 443, Realm: "r", Method: "NTLM"},
		User: "u", Failures: 2, Message: "<refused>", Ticket: "3-1"}
	rec := task.Record{
		Spec: task.Spec{
			Kind: task.Download,
			Request: task.Request{Method: "POST", URL: url, Header: header,
				Body: &task.Body{Path: "/b", Size: 3, Source: &task.Source{Size: 3, ModTime: at, Device: 1 << 63, Inode: 2}}},
			Description: "d \u2028 \x00", Metadata: map[string]string{"k": "v", "": ""},
			Priority: task.PriorityHigh, Suspended: true, EarliestBegin: at,
			Policy: task.Policy{RequestTimeout: time.Minute, ResourceTimeout: time.Hour, Retries: -1, Ask: task.Ask{Redirect: true}},
			Download: &task.DownloadSpec{Destination: "a", Path: "/a", Folder: true, Conflict: task.ConflictRename,
				Digests: []string{"md5=00"}, Resume: resume},
			Upload: &task.UploadSpec{Resumable: task.ResumableTus, Digests: []string{"md5=01"}, Multipart: &task.Multipart{
				Parts: []string{url, url}, PartSize: 8, Header: header, Completes: true, Abort: url, Uploaded: []task.Part{{Number: 2, ETag: `"e"`}}}},
			Limit: 7,
		},
		State: task.Suspended, SuspendCount: 2, Created: at, Active: time.Second, Since: at, Attempt: 3, URL: url + "&2",
		Waiting: &task.Wait{Reason: task.WaitRetry, Since: at, Until: at, Error: failure, Ticket: "t", Challenge: &challenge},
		Answered: []task.Answered{{Challenge: challenge, Answer: task.Answer{Disposition: task.UseCredential,
			Credential: &task.Credential{User: "u", Password: "p", Token: "t", Persistence: "session"}}}},
		Upload: &task.UploadState{Protocol: task.ResumableIETF, Version: 8, URL: "https://example.com/uploads/secret", Offset: 5,
			Sent: 5, Whole: true, Failed: true, MaxAppend: 6, Expires: at, Parts: []task.Part{{Number: 1, ETag: `"e"`, URL: url, Length: 4}}},
		Response: &task.Response{URL: url, Status: 206, Proto: "HTTP/2.0", Header: header, ContentLength: -1, Coding: "gzip"},
		Counts:   task.Counts{Sent: 1, ExpectedToSend: 2, Received: 3, ExpectedToReceive: -1},
		Failure:  failure, Path: "/a", Digest: "md5=00", KeepUpload: true, ResumeData: &left, Ended: at,
	}
	details := []task.Detail{
		task.ResponseReceived{URL: url, Status: 206, Header: header, Expected: -1},
		challenge,
		task.Metrics{Attempt: 3, Transactions: []task.Transaction{{URL: url, Method: "GET", Start: at, DNS: 5}}},
		task.WillRetry{Attempt: 3, At: at, Code: task.TimedOut, Message: "<no byte>"},
		task.SessionCompleted{Success: true, Status: 200, Text: "{}\n"},
		task.Invalidated{},
	}
	check := func(when string) error {
		got, err := s.Load(ctx, rec.ID)
		if err != nil {
			return fmt.Errorf("%s: %w", when, err)
		}
		page, err := s.Tasks(ctx, 0, 10)
		if err != nil || len(page) != 1 {
			return fmt.Errorf("%s: %d tasks, %w", when, len(page), err)
		}
		return errors.Join(same(when+", Load", got, rec), same(when+", Tasks", page[0], rec))
	}
	if err := s.Create(ctx, &rec); err != nil {
		return err
	}
	if err := check("after Create"); err != nil {
		return err
	}
	rec.State, rec.Counts.Received = task.Completed, 1<<60
	if _, err := s.Save(ctx, &rec, details...); err != nil {
		return err
	}
	if err := check("after Save"); err != nil {
		return err
	}
	evs, err := s.Events(ctx, 0, 0, 10)
	if err != nil || len(evs) != len(details) {
		return fmt.Errorf("%d events of %d, %w", len(evs), len(details), err)
	}
	for i, ev := range evs {
		if err := same("event", ev.Detail, details[i]); err != nil {
			return err
		}
		if reflect.TypeOf(ev.Detail) != reflect.TypeOf(details[i]) {
			return fmt.Errorf("event %d is a %T, and was a %T", i+1, ev.Detail, details[i])
		}
	}
	return nil
}

// same compares what is stored by its JSON, which is what a record is.
func same(what string, got, want any) error {
	g, err := json.Marshal(got)
	if err != nil {
		return err
	}
	w, err := json.Marshal(want)
	if err != nil {
		return err
	}
	if string(g) != string(w) {
		return fmt.Errorf("%s:\n%s, want\n%s", what, g, w)
	}
	return nil
}
