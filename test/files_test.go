package test

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/urlsession/urlsession/urlsessiontest"
)

// matches FILE SEED SIZE expects that a file is the body of that seed and size.
func matches(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: [!] matches FILE SEED SIZE")
	}
	err := bodyOf(ts, args[1:]).CheckFile(ts.MkAbs(args[0]))
	if neg && err == nil {
		ts.Fatalf("%s is that body", args[0])
	}
	if !neg {
		ts.Check(err)
	}
}

// body FILE SEED SIZE writes a body into a file.
func body(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: body FILE SEED SIZE")
	}
	ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(args[0])), 0o777))
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	_, err = io.Copy(f, bodyOf(ts, args[1:]).Reader())
	ts.Check(err)
	ts.Check(f.Close())
}

func bodyOf(ts *testscript.TestScript, args []string) urlsessiontest.Body {
	seed, err := strconv.ParseUint(args[0], 10, 64)
	ts.Check(err)
	return urlsessiontest.Body{Seed: seed, Size: size(ts, args[1])}
}

// list FILE COUNT URL writes a list of URL/000000, URL/000001, …, each with the name of its number.
func list(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: list FILE COUNT URL")
	}
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	w := bufio.NewWriter(f)
	for i := range size(ts, args[1]) {
		fmt.Fprintf(w, "%s/%06d\t%06d\n", args[2], i, i)
	}
	ts.Check(w.Flush())
	ts.Check(f.Close())
}

// waitfor GLOB [PATTERN] waits until a file of that name is there and its content matches.
func waitfor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: waitfor GLOB [PATTERN]")
	}
	pattern, err := regexp.Compile(strings.Join(args[1:], ""))
	ts.Check(err)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		found, err := filepath.Glob(ts.MkAbs(args[0]))
		ts.Check(err)
		for _, name := range found {
			if content, err := os.ReadFile(name); err == nil && pattern.Match(content) {
				return
			}
		}
	}
	ts.Fatalf("no %s with %q after %v", args[0], pattern, patience)
}

// only FOLDER PATTERN... expects that the folder holds an entry for each pattern, in any order, and no other.
func only(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: only FOLDER PATTERN...")
	}
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	left := slices.Clone(names)
	for _, pattern := range args[1:] {
		i := slices.IndexFunc(left, func(name string) bool {
			ok, err := path.Match(pattern, name)
			ts.Check(err)
			return ok
		})
		if i < 0 {
			ts.Fatalf("%s holds %q, and nothing for %q", args[0], names, pattern)
		}
		left = slices.Delete(left, i, i+1)
	}
	if len(left) > 0 {
		ts.Fatalf("%s holds %q, of which %q is too much", args[0], names, left)
	}
}

// count FOLDER N expects so many entries.
func count(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: count FOLDER N")
	}
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	if want := size(ts, args[1]); int64(len(entries)) != want {
		ts.Fatalf("%s holds %d entries, want %d", args[0], len(entries), want)
	}
}

// events reads the last run's output as events, one a line, checks their envelope, and prints their names, with repeated
// ones once.
func events(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: events")
	}
	var names []string
	sequence := 0.0
	for n, line := range strings.Split(strings.TrimSuffix(ts.ReadFile("stdout"), "\n"), "\n") {
		var ev map[string]any
		if err := json.Unmarshal([]byte(line), &ev); err != nil {
			ts.Fatalf("line %d of standard output is no JSON object: %v\n%s", n+1, err, line)
		}
		name, _ := ev["event"].(string)
		at, _ := ev["time"].(string)
		if _, err := time.Parse(time.RFC3339Nano, at); err != nil || name == "" {
			ts.Fatalf("line %d has no envelope: %s", n+1, line)
		}
		if _, ok := ev["sessionIdentifier"].(string); !ok {
			ts.Fatalf("line %d lacks sessionIdentifier: %s", n+1, line)
		}
		if id, ok := ev["taskIdentifier"].(float64); !ok || id < 1 {
			ts.Fatalf("line %d lacks taskIdentifier: %s", n+1, line)
		}
		if s, ok := ev["sequence"].(float64); ok {
			if s <= sequence {
				ts.Fatalf("line %d goes back in sequence: %s", n+1, line)
			}
			sequence = s
		}
		if len(names) == 0 || names[len(names)-1] != name {
			names = append(names, name)
		}
	}
	fmt.Fprintln(ts.Stdout(), strings.Join(names, " "))
}

// tmpfs FOLDER SIZE mounts a file system of that size: a disk that is soon full. It needs root.
func tmpfs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: tmpfs FOLDER SIZE")
	}
	folder := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(folder, 0o777))
	ts.Check(syscall.Mount("none", folder, "tmpfs", 0, fmt.Sprintf("size=%d", size(ts, args[1]))))
	ts.Defer(func() {
		if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
			ts.Logf("unmount %s: %v", folder, err)
		}
	})
}

// certs writes ca.pem, the authority of the servers; client.pem, a client's certificate that they accept; and
// wrong.pem, one that they do not. It sets $PIN to the authority's pin.
func certs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: certs")
	}
	ts.Check(os.WriteFile(ts.MkAbs("ca.pem"), urlsessiontest.CAPEM(), 0o600))
	block, _ := pem.Decode(urlsessiontest.CAPEM())
	ca, err := x509.ParseCertificate(block.Bytes)
	ts.Check(err)
	sum := sha256.Sum256(ca.RawSubjectPublicKeyInfo)
	ts.Setenv("PIN", "sha256//"+base64.StdEncoding.EncodeToString(sum[:]))
	for name, identity := range map[string]tls.Certificate{
		"client.pem": urlsessiontest.ClientIdentity(),
		"wrong.pem":  urlsessiontest.WrongClientIdentity(),
	} {
		var out []byte
		for _, der := range identity.Certificate {
			out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
		}
		key, err := x509.MarshalPKCS8PrivateKey(identity.PrivateKey)
		ts.Check(err)
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
		ts.Check(os.WriteFile(ts.MkAbs(name), out, 0o600))
	}
}
