//go:build linux

package main

// profileNotes say what was done about what a scenario's profile shows. They are kept by hand: a profile that is taken anew keeps its
// note.
var profileNotes = map[string]string{
	"large":            "the kernel's two copies are what is left: reads pass by bufio into one pooled buffer of 512 KiB, which is written at its place in the file.",
	"large-tls-h1":     "decryption (AES-GCM) is crypto/tls's, in assembly; of the copies one more, out of its records, is left.",
	"large-tls-h2":     "as over HTTP/1.1, and the frames of HTTP/2 are copied once more, by net/http.",
	"large-durable":    "the digest is taken of each buffer as it is written, so that nothing is read again.",
	"small":            "no function stands out: the system calls are the part file's promises, and the rest was made less by what is not allocated a task.",
	"small-durable":    "files that end at the same time share the fsync of their folder, and what is recorded meanwhile a transaction.",
	"capped":           "nothing: it waits for the server. Connections are added as long as each adds to the rate.",
	"slow-tail-stalls": "nothing: it waits for the server. What a stalled connection has still to bring is taken over by another.",
	"slow-tail-crawls": "nothing: it waits for the server. What a slow connection has still to bring is taken over by another.",
	"no-gain":          "nothing: it waits for the server. A connection that adds nothing is given back.",
	"queue":            "tasks that are made at once share a transaction, and so do the calls that come meanwhile.",
	"overhead":         "no function stands out: what is left is garbage, and net/http's two goroutines a connection.",
	"events":           "an event is encoded once for all listeners, and written once a listener in a tick.",
	"upload":           "sendfile has the kernel copy from the file to the socket, so that no byte comes to us.",
	"idle":             "nothing runs: no timer is set while no task is to begin. What is seen is the making of the tasks.",
}
