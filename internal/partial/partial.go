// Package partial keeps downloads that are not complete yet: the part file beside the destination, the record of what
// of it is held, and the rules that make both survive kill -9 and the loss of power.
//
// A download of URL to NAME writes NAME.KEY.part, where KEY stands for URL and destination. Beside it,
// NAME.KEY.part.json is the record: of which version of the resource bytes are held (the validator), of how many
// (the total), and which (the ranges). The rules:
//
//   - A record never claims a byte that is not durable: a checkpoint fsyncs the data, and only then replaces the
//     record, atomically, by one that claims what had been written before the fsync began.
//   - A record never stands beside bytes of another version: Begin removes it, durably, before the first new byte.
//   - A byte that no record claims is not held, whatever the part file contains.
//   - A record that lies, because it claims more than the part file has, is no record.
//   - A part file is locked while it is open: one task at a time.
//   - A file takes its final name complete and fsynced, and the folder is fsynced before the download is called done.
//
// A kill or the loss of power costs at most UnrecordedLimit bytes. A file that arrives within CheckpointInterval and has
// fewer than CheckpointBytes never has a record: there, one fsync of file and folder is all.
package partial

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// CheckpointBytes unrecorded bytes start a checkpoint in the background, while writing goes on.
	CheckpointBytes = 4 << 20
	// UnrecordedLimit is the most that is ever unrecorded: who would exceed it waits for the running checkpoint.
	UnrecordedLimit = 8 << 20
	// CheckpointInterval is the age of the oldest unrecorded byte that starts a checkpoint in the background.
	CheckpointInterval = 2 * time.Second
)

const (
	partSuffix     = ".part"
	recordSuffix   = ".json"     // of the part's name: the record
	tempSuffix     = ".json.tmp" // the next record, until it is renamed; one at most is left by kills
	mismatchSuffix = ".mismatch" // a part set aside because its digest was wrong
	maxName        = 255         // bytes of a file name, on every file system that matters
)

// Key is the KEY of a part file: 8 hex digits of the SHA-256 of URL, NUL and destination, as they were given, but for the URL's
// userinfo: who asks for a file does not make it another.
func Key(url, destination string) string {
	sum := sha256.Sum256([]byte(withoutUserinfo(url) + "\x00" + destination))
	return hex.EncodeToString(sum[:4])
}

// withoutUserinfo leaves out of a URL what stands before its host (RFC 3986 §3.2.1), and nothing else.
func withoutUserinfo(url string) string {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		return url
	}
	authority := len(rest)
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority = i
	}
	return scheme + "://" + rest[strings.LastIndexByte(rest[:authority], '@')+1:]
}

// Name is the part file's name for a file called name: NAME.KEY.part. NAME is cut, between characters of UTF-8, so
// that the names of the record and of what else lies beside the part file have at most 255 bytes.
func Name(name, key string) string {
	room := maxName - len("."+key+partSuffix) - max(len(recordSuffix), len(tempSuffix), len(mismatchSuffix))
	return cut(name, room) + "." + key + partSuffix
}

// names is how the part file and what lies beside it are called, on file systems for which letters have no case too.
var names = regexp.MustCompile(`(?i)\.[0-9a-f]{8}\.part(\.json|\.json\.tmp|\.mismatch)?$`)

// Owns reports whether a file of that name would be taken for a part file, a record or another of this package's files.
// A name from outside must not be one: a server that plants a part file and its record decides what a later download
// goes on from.
func Owns(name string) bool { return names.MatchString(name) }

// cut is the longest prefix of s that has at most n bytes and ends between characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// numbered is name with " (n)" before its extension, of at most 255 bytes. "a.tar.gz" becomes "a (1).tar.gz".
func numbered(name string, n int) string {
	stem, ext := split(name)
	mark := " (" + strconv.Itoa(n) + ")"
	return cut(stem, maxName-len(mark)-len(ext)) + mark + ext
}

func split(name string) (stem, ext string) {
	dot := strings.LastIndexByte(name, '.')
	if dot <= 0 || len(name)-dot > 32 { // a hidden file's name, or no extension that anybody means
		return name, ""
	}
	if stem := strings.TrimSuffix(name[:dot], ".tar"); stem != "" {
		dot = len(stem)
	}
	return name[:dot], name[dot:]
}
