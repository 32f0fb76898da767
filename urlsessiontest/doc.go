// Package urlsessiontest is an HTTP/1.1 origin that misbehaves on command, to
// test a downloader, an uploader or any other HTTP client against.
//
// A [Server] publishes a [Resource] a path and answers it as RFC 9110 asks:
// HEAD, GET, single ranges, If-Range, If-None-Match, uploads. A script, one
// [Step] a request, then makes it lie, stall, cut, reset, redirect or talk
// nonsense:
//
//	srv := urlsessiontest.NewServer()
//	defer srv.Close()
//	file := urlsessiontest.Body{Seed: 1, Size: 48 << 20}
//	srv.Publish("/f", urlsessiontest.Resource{Content: file, ETag: `"v1"`})
//	srv.Script("/f",
//		urlsessiontest.Truncate(1<<20),
//		urlsessiontest.Status(503, urlsessiontest.RetryAfter(2*time.Second)),
//		urlsessiontest.Honest())
//
// Steps compose with [All], depend on the request with [When], and are plain
// functions of the [Reply], so that a missing fault is a few lines away:
//
//	srv.Always("/f", urlsessiontest.All(
//		urlsessiontest.Chunked(),
//		urlsessiontest.Slow(1<<20),
//		urlsessiontest.ResetAt(urlsessiontest.AtBody(100_000))))
//
// What is sent is exactly what the reply says: nothing is corrected, counted
// or completed on its way out. Where a fault happens is a [Point] of the
// reply, down to the byte.
//
// A [Body] is content without storage: any byte of it can be computed, so that
// a test serves and verifies gigabytes in constant memory. The server records
// every request ([Server.Requests]), the bytes that it sent ([Server.Sent]) and
// how many connections there were at once ([Server.Load]). [WithTLS] presents
// every kind of bad certificate, [NewProxy] is a recording HTTP and SOCKS5
// proxy.
//
// With [InMemory] the same server works without sockets and by the fake clock
// of testing/synctest.
//
// An [UploadServer] is an origin for uploads that resume, by the IETF's draft over
// HTTP/1.1 and HTTP/2; a [TusServer] by tus 1.0 and its extensions; a
// [MultipartServer] takes parts to presigned URLs, as S3 does. Their scripts are of
// [UploadStep]s: cut after a number of bytes, lie about the offset, forget, refuse,
// lose the answer.
//
// The package uses the standard library only and does not import testing. All
// its types are safe for concurrent use unless they say otherwise.
package urlsessiontest
