package urlsessiontest

import (
	"net/http"
	"strconv"
	"time"
)

// UploadCut ends the connection after n bytes of the request's body were read,
// all of which are kept; see [UploadLoses] for fewer. A body that is shorter is
// not cut; n of its very length cuts before the request counts as received.
func UploadCut(n int64) UploadStep {
	return uploadAt(n, func(*uploadExchange) error { return errCut })
}

// UploadAbort is UploadCut of the stream alone where the client speaks HTTP/2:
// RST_STREAM, and the connection stays.
func UploadAbort(n int64) UploadStep {
	return uploadAt(n, func(*uploadExchange) error { return errAbort })
}

// UploadStall reads n bytes of the body, then nothing for d; [Forever] ends by
// another request for the same upload, or Close.
func UploadStall(n int64, d time.Duration) UploadStep {
	return uploadAt(n, func(x *uploadExchange) error { return x.pause(d, nil) })
}

// UploadHold reads n bytes of the body, then nothing until the gate opens.
func UploadHold(n int64, gate *Gate) UploadStep {
	return uploadAt(n, func(x *uploadExchange) error {
		gate.arrive()
		return x.pause(Forever, gate.open)
	})
}

// UploadEarly answers with status after n bytes of the body, whose rest it does
// not want. What was read is kept, and the upload is incomplete whatever the
// status says.
func UploadEarly(n int64, status int) UploadStep {
	return uploadAt(n, func(x *uploadExchange) error {
		x.early = status
		return errEarly
	})
}

func uploadAt(n int64, do func(*uploadExchange) error) UploadStep {
	return func(r *UploadReply) { r.points = append(r.points, uploadPoint{n, do}) }
}

// UploadLoses forgets the last n bytes of the request's body if the request does
// not end well: what a server had in its hands, and not on its disk. A 104 may
// have acknowledged them.
func UploadLoses(n int64) UploadStep { return func(r *UploadReply) { r.Lost = n } }

// UploadStatus refuses the request before any of its body is read, with the
// status and a line of text: UploadAll(UploadStatus(503),
// UploadHeader("Retry-After", "2")). Nothing of the upload changes.
func UploadStatus(status int) UploadStep {
	return func(r *UploadReply) { r.refusal = &UploadAnswer{Status: status} }
}

// UploadRedirect refuses the request with a redirect to location, as it stands.
func UploadRedirect(status int, location string) UploadStep {
	return func(r *UploadReply) {
		r.refusal = &UploadAnswer{Status: status, Header: http.Header{"Location": {location}}}
	}
}

// UploadLosesAnswer does all that the request asks for, then ends the connection
// in place of the answer. 104s still come.
func UploadLosesAnswer() UploadStep { return func(r *UploadReply) { r.loseAnswer = true } }

// UploadUnaware answers as a plain server does, which ignores each field of the
// protocol: it takes a whole body, or nothing.
func UploadUnaware() UploadStep { return func(r *UploadReply) { r.Version = 0 } }

// UploadAnnounced sends the 104 with Location that many times; 0 is an upload
// resource of which the client learns by the final answer only, if at all.
func UploadAnnounced(times int) UploadStep { return func(r *UploadReply) { r.Announcements = times } }

// UploadInterop puts version in the Upload-Draft-Interop-Version of 104s, in
// place of the one that the request asked for; empty leaves the field out.
func UploadInterop(version string) UploadStep {
	return UploadEdit(func(status int, h http.Header) int {
		if status == statusResumption {
			setOrDelete(h, "Upload-Draft-Interop-Version", version)
		}
		return status
	})
}

// UploadLocation replaces Location where the protocol has the upload resource
// there; empty leaves it out.
func UploadLocation(location string) UploadStep {
	return UploadEdit(func(status int, h http.Header) int {
		if h.Get("Location") != "" {
			setOrDelete(h, "Location", location)
		}
		return status
	})
}

// UploadOffset replaces each Upload-Offset that is sent, by a number or by none:
// "-1", "1e6", `"7"`, "". The upload itself is not changed.
func UploadOffset(value string) UploadStep {
	return UploadEdit(func(status int, h http.Header) int {
		if h.Get("Upload-Offset") != "" {
			setOrDelete(h, "Upload-Offset", value)
		}
		return status
	})
}

// UploadOffsetBy adds by to each Upload-Offset that is sent. The upload itself is
// not changed, so that an append at that offset is refused.
func UploadOffsetBy(by int64) UploadStep {
	return UploadEdit(func(status int, h http.Header) int {
		if n, err := strconv.ParseInt(h.Get("Upload-Offset"), 10, 64); err == nil {
			h.Set("Upload-Offset", strconv.FormatInt(n+by, 10))
		}
		return status
	})
}

// UploadRollsBack takes n bytes from the end of the upload, before the request is
// answered: the offset goes back, which interop version 6 and later forbid, and
// is true.
func UploadRollsBack(n int64) UploadStep {
	return func(r *UploadReply) {
		r.before = append(r.before, func(up *uploadResource) { up.truncate(max(0, up.offset()-n)) })
	}
}

// UploadAdvances gives the upload n bytes of body that the client has not sent, as
// if the server had them from elsewhere.
func UploadAdvances(n int64, body Body) UploadStep {
	return func(r *UploadReply) {
		r.before = append(r.before, func(up *uploadResource) {
			p := make([]byte, n)
			m, _ := body.ReadAt(p, up.offset())
			up.append(p[:m])
		})
	}
}

// UploadForgets makes the upload resource answer with status, 404 or 410, from
// this request on.
func UploadForgets(status int) UploadStep {
	return func(r *UploadReply) {
		r.before = append(r.before, func(up *uploadResource) { up.goAway(status) })
	}
}

// UploadConflicts refuses an append as if its offset were wrong: 409, with the
// right one.
func UploadConflicts() UploadStep {
	return func(r *UploadReply) { r.conflict = true }
}

func setOrDelete(h http.Header, name, value string) {
	if value == "" {
		h.Del(name)
	} else {
		h.Set(name, value)
	}
}
