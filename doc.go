// Package urlsession transfers data by URL as NSURLSession does: a [Session] makes tasks that fetch data, download files
// and upload bodies over HTTP, tells of them by events, and goes on after what goes wrong.
//
// # One call
//
// The simplest use is a method that runs a task to its end; ctx cancels it:
//
//	s, err := urlsession.New(urlsession.Default())
//	resp, err := s.Download(ctx, urlsession.Get("https://example.com/go.tar.gz"), "go.tar.gz")
//	body, resp, err := s.Data(ctx, urlsession.Get("https://example.com/news.json"))
//	body, resp, err := s.Upload(ctx, urlsession.Put("https://example.com/film", urlsession.File("film.mov")))
//
// A file that reaches its final name is complete and of one version. A download that was cut short keeps its part file,
// and the same call again goes on from it, where the server vouches that the content is still the same.
//
// # Tasks and events
//
// DataTask, DownloadTask and UploadTask return a [Task] that has started. It can be suspended, resumed and cancelled,
// asked for its [Status], and listened to:
//
//	for ev, err := range t.Events(ctx) {
//		if err != nil {
//			return err
//		}
//		switch ev := ev.(type) {
//		case urlsession.DownloadProgress:
//			bar.Set(ev.TotalBytesWritten, ev.TotalBytesExpected)
//		case urlsession.Completed:
//			return ev.Err
//		}
//	}
//
// [Session.Events] yields those of all tasks. Events tell; the functions of a [Configuration], OnRedirect and OnResponse,
// decide.
//
// # Answers and errors
//
// An answer of 400 and above is a response, not an error, unless [Request.FailOnHTTPError] is set. Every error is an
// [*Error]; its [Code] is a number of NSURLErrorDomain, or one of this package's own, and may be asked for:
//
//	if errors.Is(err, urlsession.ErrTimedOut) { … }
//
// # In the background
//
// The tasks of a session that [Background] configures belong to a daemon of this user, which New starts where it does not
// run, by the program urlsession of PATH or what [Configuration.Daemon] says. They go on when the app has exited or was
// killed, and after a restart of the machine, once the daemon is started again; a task exists from the moment that its
// creation has returned. Everything above works the same: a session is found again by its identifier, in this program or
// another, with its tasks and the events that it has missed:
//
//	s, err := urlsession.New(urlsession.Background("com.example.sync"))
//	for ev, err := range s.Events(ctx) { // what was missed, then EventsCompleted, then what happens
//		if err != nil {
//			return err
//		}
//		if ev, ok := ev.(urlsession.DownloadCompleted); ok {
//			use(ev.Path) // to ask for the next event acknowledges this one
//		}
//	}
//
// [Configuration.LaunchCommand] is run when events wait and the app is not there. [Daemon] asks of the daemon itself.
//
// # What a session remembers
//
// Cookies, responses and credentials are kept by a [CookieStorage], a [URLCache] and a [CredentialStorage]: those of Default last, and
// are shared by the sessions of one [Configuration.Application]; those of Ephemeral end with the session. [Session.Flush]
// makes them durable, and [Session.Reset] empties them. A server that wants to know who asks is answered by what is stored, else by
// [Configuration.OnChallenge] or [Task.Answer].
//
// # Uploads
//
// An upload that was cut goes on from what the server has, where the two find a protocol for that ([Request.Resumable]). One with
// [Request.Multipart] goes in parts to signed URLs.
package urlsession
