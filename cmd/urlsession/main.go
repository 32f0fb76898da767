// Command urlsession downloads, uploads and fetches over HTTP, and goes on where it was stopped; by its daemon also when the
// command is gone.
//
// It is the public API of package urlsession behind flags that users of curl and aria2 know. It does no networking of
// its own. Its exit status is 0 when all transfers succeeded, 1 when one failed, 2 for a command line that makes no
// sense, 3 when the daemon cannot be reached, and 130 when it was interrupted.
package main

import (
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// stdio is where a command reads and writes.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

func main() {
	slog.SetDefault(slog.New(warnings{os.Stderr})) // of package urlsession
	// What net/http says on its own holds bytes of a server; what matters of it is an error, too.
	log.SetOutput(io.Discard)
	// A reader of our output that is gone is an error of the write. It must not end the process before what has
	// arrived is recorded, nor a download whose progress alone nobody reads. (To ignore the signal would make the programs
	// that we start ignore it, too.)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	status := execute(os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr})
	atExit()
	os.Exit(status)
}

// atExit is done before the process ends in good order. Builds with the tag profile set it.
var atExit = func() {}
