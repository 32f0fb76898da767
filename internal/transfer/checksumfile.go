package transfer

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urlsession/urlsession/internal/task"
)

// maxChecksumFile bounds what is read of a checksum file, in bytes.
const maxChecksumFile = 64 << 20

// A checksumLine is what a checksum file says of one file.
type checksumLine struct {
	name string // as it stands; empty: the line has a digest only
	expectation
}

// readChecksumFile is what the checksum file at path says of the file called name. It is an error that it says nothing.
func readChecksumFile(path, name string) ([]expectation, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := parseChecksums(f, name)
	if err != nil {
		return nil, fmt.Errorf("read checksum file %s: %w", path, err)
	}
	if len(list) == 0 {
		return nil, &noChecksum{path, name}
	}
	for i := range list {
		list[i].source = filepath.Base(path)
	}
	return list, nil
}

// ReadChecksums is what the checksum file at path says of the file called name, each digest as "sha-256=HEX". It is an error that
// it says nothing (DigestMismatch).
func ReadChecksums(path, name string) ([]string, error) {
	list, err := readChecksumFile(path, name)
	if _, ok := errors.AsType[*noChecksum](err); ok {
		return nil, &task.Error{Op: "verify file", URL: name, Code: task.DigestMismatch, Err: err}
	}
	if err != nil {
		return nil, fileError("read checksum file", path, err, task.CannotOpenFile)
	}
	digests := make([]string, len(list))
	for i, e := range list {
		digests[i] = e.algorithm.name + "=" + hex.EncodeToString(e.sum)
	}
	return digests, nil
}

// noChecksum says that a checksum file has no line for a file.
type noChecksum struct{ path, name string }

func (e *noChecksum) Error() string {
	return fmt.Sprintf("checksum file %s has no sha-256, sha-512 or md5 for %s; add its line, or name the file as a line does", e.path, e.name)
}

// parseChecksums reads what sha256sum, sha512sum and md5sum write, with and without --tag, and openssl and BSD's tools.
// Lines that are none of that, comments and signatures, say nothing. Where no line has the name as it is, those count that
// have it behind a folder. A file whose only line has a digest and no name speaks of whatever file it lies beside, so of
// name.
func parseChecksums(r io.Reader, name string) ([]expectation, error) {
	var named, inFolders, bare []expectation
	lines, names := 0, 0
	s := bufio.NewScanner(io.LimitReader(r, maxChecksumFile))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		text := strings.TrimPrefix(strings.TrimRight(s.Text(), "\r"), "\ufeff")
		if strings.TrimSpace(text) == "" || text[0] == '#' {
			continue
		}
		lines++
		line, ok := parseChecksumLine(text)
		switch {
		case !ok:
		case line.name == "":
			bare = append(bare, line.expectation)
		default:
			names++
			switch {
			case strings.TrimPrefix(line.name, "./") == name:
				named = append(named, line.expectation)
			case line.name[strings.LastIndexByte(line.name, '/')+1:] == name:
				inFolders = append(inFolders, line.expectation)
			}
		}
	}
	switch {
	case len(named) > 0:
		return named, s.Err()
	case names == 0 && lines == 1:
		return bare, s.Err()
	}
	return inFolders, s.Err()
}

func parseChecksumLine(text string) (checksumLine, bool) {
	if line, ok := parseTagged(text); ok {
		return line, true
	}
	text, escaped := strings.CutPrefix(text, `\`)
	digest, name, _ := strings.Cut(text, " ")
	sum, err := hex.DecodeString(digest)
	if err != nil {
		return checksumLine{}, false
	}
	a := algorithmOfSize(len(sum))
	if a == nil {
		return checksumLine{}, false
	}
	// " name" is text, "*name" binary: the same here.
	if n, ok := strings.CutPrefix(name, " "); ok {
		name = n
	} else {
		name = strings.TrimPrefix(name, "*")
	}
	if escaped {
		name = unescapeName(name)
	}
	return checksumLine{name, expectation{a, sum, ""}}, true
}

// parseTagged reads "SHA256 (name) = hex", and openssl's "SHA2-256(name)= hex".
func parseTagged(text string) (checksumLine, bool) {
	body, escaped := strings.CutPrefix(text, `\`)
	tag, rest, ok := strings.Cut(body, "(")
	if !ok {
		return checksumLine{}, false
	}
	end := strings.LastIndexByte(rest, ')')
	if end < 0 {
		return checksumLine{}, false
	}
	name, value := rest[:end], rest[end+1:]
	value, ok = strings.CutPrefix(strings.TrimSpace(value), "=")
	if !ok {
		return checksumLine{}, false
	}
	a := algorithmTagged(strings.TrimSpace(tag))
	sum, err := hex.DecodeString(strings.TrimSpace(value))
	if err != nil || a == nil || len(sum) != a.size || name == "" {
		return checksumLine{}, false
	}
	if escaped {
		name = unescapeName(name)
	}
	return checksumLine{name, expectation{a, sum, ""}}, true
}

func algorithmTagged(tag string) *algorithm {
	switch strings.ToUpper(tag) {
	case "SHA256", "SHA-256", "SHA2-256":
		return algorithmNamed("sha-256")
	case "SHA512", "SHA-512", "SHA2-512":
		return algorithmNamed("sha-512")
	case "MD5":
		return algorithmNamed("md5")
	}
	return nil
}

func algorithmOfSize(n int) *algorithm {
	for _, a := range algorithms {
		if a.size == n {
			return a
		}
	}
	return nil
}

var nameEscapes = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r")

// unescapeName undoes what coreutils do to a name with a line end or a backslash in it.
func unescapeName(name string) string { return nameEscapes.Replace(name) }
